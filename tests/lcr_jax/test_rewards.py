"""Candidates, tie-aware ranks, rewards and advantages, against values worked by hand."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lcr_jax.rewards import REWARDS, compare_rewards, draw_candidates, rank_positive


def test_ranks_count_ties_half():
    scores = jnp.array([[2.0, 3.0, 2.0, 1.0, 2.0], [5.0, 1.0, 2.0, 3.0, 4.0]])
    allowed = jnp.ones_like(scores, bool)
    np.testing.assert_array_equal(rank_positive(scores, allowed), [1 + 1 + 0.5 + 0.5, 1])
    fewer = allowed.at[0, 1].set(False).at[0, 4].set(False)  # neither ahead nor equal any more
    np.testing.assert_array_equal(rank_positive(scores, fewer), [1.5, 1])


def test_a_scorer_that_cannot_tell_gets_the_middle():
    scores = jnp.full((3, 100), 0.7)
    ranks = rank_positive(scores, jnp.ones((3, 100), bool))
    np.testing.assert_array_equal(ranks, 50.5)


def test_dense_reward_pays_for_every_rank():
    scores = jnp.tri(100, k=-1)[
        :, ::-1
    ]  # row r: r candidates ahead of the positive, from the right
    scores = jnp.concatenate([jnp.full((100, 1), 0.5), scores[:, 1:]], axis=1)[:100]
    rewards = REWARDS["dense_ndcg"](scores, jnp.ones((100, 100), bool))
    assert rewards[0] == 1.0
    np.testing.assert_allclose(rewards[-1], 1 / np.log2(101), rtol=1e-6)  # rank 100
    np.testing.assert_allclose(rewards.min(), 0.150, atol=5e-4)
    assert np.all(np.diff(rewards) < 0)


def test_other_rewards_by_hand():
    scores, allowed = jnp.array([[1.0, 2.0, 0.0, 9.0]]), jnp.array([[True, True, True, False]])
    np.testing.assert_allclose(REWARDS["reciprocal_rank"](scores, allowed), [0.5])
    np.testing.assert_allclose(REWARDS["ndcg_at_10"](scores, allowed), [1 / np.log2(3)], rtol=1e-6)
    log_share = 1.0 - np.log(np.exp([1.0, 2.0, 0.0]).sum())
    np.testing.assert_allclose(REWARDS["log_softmax"](scores, allowed), [log_share], rtol=1e-6)
    behind = jnp.concatenate([jnp.zeros((1, 1)), jnp.ones((1, 10))], axis=1)
    assert REWARDS["ndcg_at_10"](behind, jnp.ones((1, 11), bool)) == 0  # rank 11


def test_advantages_by_hand():
    advantage, differs = compare_rewards(jnp.array([[1.0, 0.3], [0.5, 0.3], [0.0, 0.3]]))
    deviation = np.sqrt(1 / 6)
    np.testing.assert_allclose(
        advantage[:, 0], np.array([0.5, 0.0, -0.5]) / (deviation + 1e-4), rtol=1e-5
    )
    np.testing.assert_array_equal(differs, [True, False])
    np.testing.assert_array_equal(advantage[:, 1], 0)


def test_one_rollout_has_no_advantage():
    advantage, differs = compare_rewards(jnp.array([[0.2, 0.9]]))
    np.testing.assert_array_equal(advantage, 0)
    assert not differs.any()


def test_equal_rewards_are_masked_although_they_round():
    """0.1 summed seven times is not 0.7 in float32: the standard deviation would not be 0."""
    _, differs = compare_rewards(jnp.full((7, 1), 0.1))
    assert not differs.any()


def test_candidates_by_hand():
    batch = {
        "target": jnp.array([5, 6, 7, 0]),  # the last row is padding
        "negatives": jnp.array([[5, 9, 9, 2], [1, 2, 3, 4], [8, 0, 2, 3], [1, 1, 1, 1]]),
        "rec_item": jnp.array([[2, 0], [0, 0], [6, 0], [0, 0]]),
        "search_click": jnp.array([[[0]], [[4]], [[0]], [[0]]]),
    }
    items, allowed = draw_candidates(batch, 4, 35, jax.random.key(0))
    assert items.shape == (4, 1 + 4 + 3)  # four rows have three others each
    np.testing.assert_array_equal(items[:, 0], batch["target"])
    np.testing.assert_array_equal(items[:, 1:5], batch["negatives"])
    np.testing.assert_array_equal(allowed[0, :5], [True, False, True, False, False])
    np.testing.assert_array_equal(allowed[1, :5], [True, True, True, True, False])
    np.testing.assert_array_equal(allowed[2, :5], [True, True, False, True, True])
    for row, targets in enumerate([{6, 7}, {5, 7}, {5}]):  # row 2 has had item 6
        others = np.asarray(items[row, 5:])[np.asarray(allowed[row, 5:])]
        assert len(others) == len(targets)
        assert set(others.tolist()) == targets


def test_candidates_of_random_batches_hold_the_rules(build_batch):
    batch = build_batch([5, 3, 0, 2, 4, 1], [4, 0, 2, 3, 1, 4], negatives=12)
    items, allowed = draw_candidates(batch, 10, 4, jax.random.key(1))
    other_items, _ = draw_candidates(batch, 10, 4, jax.random.key(2))
    assert items.shape == (6, 15)
    assert not np.array_equal(items[:, 11:], other_items[:, 11:])
    for row in range(6):
        kept = np.asarray(items[row])[np.asarray(allowed[row])]
        history = {
            *np.asarray(batch["rec_item"][row]),
            *np.asarray(batch["search_click"][row]).ravel(),
        }
        assert len(set(kept)) == len(kept)
        assert not set(kept[1:]) & history
        assert 0 not in kept[1:]


@pytest.mark.parametrize("count", [1, 2])
def test_a_batch_of_few_rows_has_few_others(count, build_batch):
    batch = build_batch([2] * count, [1] * count)
    items, _ = draw_candidates(batch, 2, 35, jax.random.key(0))
    assert items.shape == (count, 1 + 2 + count - 1)
