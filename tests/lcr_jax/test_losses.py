"""The losses against plain numpy and against values worked by hand."""

from __future__ import annotations

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from common.nn.losses import binary_cross_entropy, sampled_softmax
from lcr_jax import losses
from lcr_jax.settings import LossSettings
from lcr_jax.supervised import supervised_loss


def softmax_loss(logits, correct):
    logits = np.asarray(logits, np.float64)
    return np.log(np.exp(logits).sum()) - logits[correct]


def test_binary_cross_entropy_by_hand():
    scores = jnp.array([[0.0, 0.0, 0.0], [2.0, -1.0, 0.0], [9.0, 9.0, 9.0]])
    valid = jnp.array([1, 1, 0], jnp.uint8)
    second = (np.log1p(np.exp(-2)) + np.log1p(np.exp(-1)) + np.log(2)) / 3
    expected = (np.log(2) + second) / 2
    np.testing.assert_allclose(binary_cross_entropy(scores, valid), expected, rtol=1e-6)


def test_sampled_softmax_corrects_for_the_sampling():
    scores = jnp.array([[1.0, 0.5, -0.5]])
    log_share = jnp.log(jnp.array([[0.5, 0.25, 0.125]]))
    # Two draws without the positive, which has half of the probability: 2 * 0.25 / 0.5 = 1 of the
    # first item and half of the second one are expected.
    expected = softmax_loss([1.0, 0.5 - np.log(1.0), -0.5 - np.log(0.5)], 0)
    got = sampled_softmax(scores, log_share, jnp.ones(1))
    np.testing.assert_allclose(got, expected, rtol=1e-6)


def make_targets(items, target, taken, popularity, valid):
    ids, taken = jnp.asarray(target), jnp.asarray(taken)
    return losses.Targets(items, ids, taken, popularity, jnp.asarray(valid, jnp.uint8), 100)


def contrast(states, items, target, taken, valid, log_popularity=None, negatives=9):
    rows = len(target)
    popularity = jnp.zeros(rows) if log_popularity is None else log_popularity
    targets = make_targets(items, target, taken, popularity, valid)
    return losses.contrastive_alignment(states, targets, jnp.full(states.shape[1], 0.5), negatives)


@pytest.mark.parametrize(("negatives", "others"), [(9, [0, 1, 2, 3]), (2, [0, 2]), (3, [0, 2])])
def test_contrastive_alignment_equals_a_loop(negatives, others):
    rng = np.random.default_rng(0)
    states, items = rng.normal(size=(4, 2, 3)), rng.normal(size=(4, 3))
    target, taken = [5, 6, 5, 7], np.array([[7, 0], [1, 0], [2, 6], [0, 0]])
    valid, popularity = [1, 1, 1, 0], rng.normal(size=4)
    terms = []
    for step in range(2):
        for i in range(3):
            logits, correct = [], None
            for j in range(3):  # row 3 is padding: on neither side
                if j != i and (j not in others or target[j] == target[i] or target[j] in taken[i]):
                    continue
                if j == i:
                    correct = len(logits)
                u, v = states[i, step], items[j]
                cosine = u @ v / np.linalg.norm(u) / np.linalg.norm(v)
                logits.append(cosine / 0.5 - popularity[j])
            terms.append(softmax_loss(logits, correct))
    states, items, popularity = jnp.asarray(states), jnp.asarray(items), jnp.asarray(popularity)
    got = contrast(states, items, target, taken, valid, popularity, negatives)
    np.testing.assert_allclose(got, np.mean(terms), rtol=1e-5)


def test_masked_pairs_get_no_gradient():
    rng = np.random.default_rng(1)
    states, items = jnp.asarray(rng.normal(size=(3, 1, 4))), jnp.asarray(rng.normal(size=(3, 4)))
    taken = np.array([[9], [0], [0]])  # row 0 took the target of row 2

    def first_row(items):
        return contrast(states, items, [4, 4, 9], taken, [1, 0, 0])

    gradient = jax.grad(first_row)(items)
    np.testing.assert_array_equal(gradient[1:], 0)  # the same target; a target already taken


def weigh(evidence, sources, items, target, taken, valid, negatives=9):
    popularity = jnp.log(jnp.arange(1, len(target) + 1) / 10)
    targets = make_targets(items, target, taken, popularity, valid)
    return losses.evidence_likelihood(
        jnp.asarray(evidence), sources, targets, jnp.float32(0.5), negatives
    )


@pytest.mark.parametrize("negatives", [2, 9])
def test_evidence_likelihood_equals_a_loop(negatives):
    rng = np.random.default_rng(2)
    sources, items = rng.normal(size=(4, 3, 2)), rng.normal(size=(4, 2))
    evidence = rng.dirichlet(np.ones(3), size=(4, 2, 2))
    target, valid = [1, 2, 1, 3], [1, 1, 1, 0]
    taken = [[0, 0], [0, 0], [2, 0], [0, 0]]
    total = []
    for row in range(3):
        others = [
            j
            for j in range(min(negatives, 4))
            if valid[j] and target[j] != target[row] and target[j] not in taken[row]
        ]
        shares = []
        for source in sources[row]:
            cosine = items @ source / np.linalg.norm(items, axis=1) / np.linalg.norm(source)
            logits = cosine / 0.5 - np.log(np.arange(1, 5) / 10)
            shares.append(np.exp(logits[row]) / np.exp(logits[[row, *others]]).sum())
        total.append(-np.log(evidence[row] @ shares).mean())
    got = weigh(evidence, sources, items, target, taken, valid, negatives)
    np.testing.assert_allclose(got, np.mean(total), rtol=1e-5)


def test_evidence_moves_to_what_explains_the_target():
    sources = jnp.array([[[0.0, 0.0], [0.0, 1.0], [1.0, 0.0]]] * 3)
    items, target = jnp.array([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8]]), [1, 2, 3]
    even, none, valid = jnp.full((3, 1, 1, 3), 1 / 3), [[0]] * 3, [1, 1, 0]
    gradient = jax.grad(lambda a: weigh(a, sources, items, target, none, valid))(even)
    assert gradient[0, 0, 0].argmin() == 2  # more of it lowers the loss most
    assert gradient[1, 0, 0].argmin() == 1
    assert not gradient[2].any()  # padding
    for_items = jax.grad(lambda i: weigh(even, sources, i, target, none, valid))(items)
    assert for_items[:2].any()
    assert not for_items[2].any()


def test_query_item_alignment_by_hand():
    eye = jnp.eye(2)
    queries, items = jnp.array([[1.0, 0.0], [5.0, 5.0]]), jnp.array([[0.5, 0.0], [5.0, 5.0]])
    others = jnp.array([[0.0, 1.0]])
    real = jnp.array([True, False])
    got = losses.query_item_alignment(queries, items, others, others, real, eye, jnp.array(0.1))
    expected = softmax_loss([np.tanh(0.5) / 0.1, 0.0], 0)
    np.testing.assert_allclose(got, expected, rtol=1e-4)
    nothing = losses.query_item_alignment(
        queries, items, others, others, jnp.zeros(2, bool), eye, jnp.array(0.1)
    )
    assert nothing == 0


@pytest.mark.parametrize(
    ("recommendation", "scorer"),
    [("bce", "dot_mlp"), ("sampled_softmax", "dot_mlp"), ("softmax", "dot")],
)
def test_padded_rows_give_no_loss_and_no_gradient(recommendation, scorer, build_model, build_batch):
    model = build_model(scorer=scorer, dropout=0.0)
    settings = LossSettings(recommendation=recommendation, alignment_negatives=8)
    batch = build_batch([3, 0, 2], [2, 3, 4])
    batch["valid"] = jnp.array([1, 1, 0], jnp.uint8)
    other = batch | {"target": batch["target"].at[2].set(3)}
    other["rec_item"] = batch["rec_item"].at[2, 0].set(9)
    other["search_query"] = batch["search_query"].at[2, 1].set(9)
    run = jax.jit(
        jax.value_and_grad(
            lambda p, b: supervised_loss(
                model.module, settings, p, model.constants, b, jax.random.key(3)
            )[0]
        )
    )
    value, gradient = run(model.params, batch)
    other_value, other_gradient = run(model.params, other)
    np.testing.assert_allclose(other_value, value, rtol=1e-6)
    for left, right in zip(jax.tree.leaves(gradient), jax.tree.leaves(other_gradient), strict=True):
        np.testing.assert_allclose(left, right, rtol=1e-4, atol=1e-6)


def test_a_batch_without_clicked_searches_is_finite(build_model, build_batch):
    model, batch = build_model(dropout=0.0), build_batch([3, 2], [1, 0])
    assert not batch["search_click"].any()
    settings = LossSettings(alignment_negatives=8)
    run = jax.jit(partial(supervised_loss, model.module, settings))
    value, metrics = run(model.params, model.constants, batch, jax.random.key(0))
    assert np.isfinite(value)
    assert metrics["alignment"] == 0


def test_without_reasoning_there_is_no_contrastive_loss(build_model, build_batch):
    model, batch = build_model(steps=0), build_batch([3, 2], [2, 1])
    settings = dataclasses.replace(LossSettings(), alignment_weight=0.0)
    run = jax.jit(partial(supervised_loss, model.module, settings))
    value, metrics = run(model.params, model.constants, batch, jax.random.key(0))
    assert set(metrics) == {"recommendation"}
    assert value == metrics["recommendation"]


def test_taken_targets_are_found_like_by_comparing_all():
    rng = np.random.default_rng(3)
    target, others = rng.integers(1, 15, 9), rng.integers(1, 15, 6)
    taken = rng.integers(0, 15, (9, 4))  # with pads
    plain = (target[:, None] == others) | (taken[:, :, None] == others).any(axis=1)
    ids = (jnp.asarray(x, jnp.int32) for x in (target, others, taken))
    got = losses._share_target(*ids, catalogue=15)
    np.testing.assert_array_equal(got, plain)
    assert 0.1 < plain.mean() < 0.9
