"""What a score depends on, and what it does not."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gensr_jax.model import GenSR
from gensr_jax.scoring import explain_filter, fit_rows, score_candidates


def score(case, batch=None, constants=None, **settings):
    module = case.module
    if settings:
        module = GenSR(dataclasses.replace(module.settings, **settings))
    run = jax.jit(lambda p, c, b: score_candidates(module, p, c, b))
    return np.asarray(run(case.params, constants or case.constants, batch or case.batch))


def close(actual, expected):
    np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-5)


def with_prompt(constants, row, place, token):
    return constants | {"prompt_tok": constants["prompt_tok"].at[row, place].set(token)}


def test_query_counts_in_search_and_never_in_rec(make):
    case = make()
    first = score(case)
    other = score(case, constants=with_prompt(case.constants, 1, 8, 13))
    assert np.all(np.abs(other[1] - first[1]) > 1e-4)
    close(other[[0, 2]], first[[0, 2]])


def test_neither_bucket_nor_batch_mates_nor_candidates_count(make):
    case = make()
    first = score(case)
    wide = {
        name: jnp.pad(case.constants[name], ((0, 0), (0, 8)), constant_values=value)
        for name, value in (("prompt_tok", 0), ("prompt_slot", -1), ("prompt_mask", False))
    }
    close(score(case, constants=case.constants | wide), first)
    alone = {name: value[1:2] for name, value in case.batch.items()}
    close(score(case, alone), first[1:2])
    fewer = case.batch | {"negatives": case.batch["negatives"][:, ::-1]}
    close(score(case, fewer), first[:, [0, 2, 1]])
    close(score(case, score_rows=3), first)  # one candidate of each list at a time
    close(score(case, score_rows=6), first)


def test_rows_at_once_fit_the_cache_of_a_cpu_and_fill_an_accelerator():
    assert fit_rows(110 * 768, "cpu") == 12
    assert fit_rows(2**30, "cpu") == 1
    assert fit_rows(110 * 768, "gpu") == fit_rows(16 * 64, "tpu") == 2048


def test_batch_without_queries_is_scored_alike_with_short_prompts(make):
    case = make()

    @jax.jit
    def short(batch):
        return score_candidates(case.module, case.params, case.constants, batch, rec_length=10)

    rec = case.batch | {"query": jnp.zeros(3, jnp.int32)}
    close(short(rec), score(case, rec))
    close(short(case.batch), score(case))  # would lose the last query's end


def test_padding_candidate_scores_minus_infinity(make):
    case = make()
    batch = case.batch | {"negatives": case.batch["negatives"].at[0, 1].set(0)}
    scores = score(case, batch)
    assert scores[0, 2] == -np.inf
    close(np.delete(scores.ravel(), 2), np.delete(score(case).ravel(), 2))


def test_order_of_the_history_counts_only_with_positions(make):
    swapped = {"rec_item": jnp.array([[3, 2, 1], [6, 0, 0], [7, 2, 0]])}
    case = make()
    assert np.all(np.abs(score(case, case.batch | swapped)[0] - score(case)[0]) > 1e-5)
    without = make(positions=False)
    close(score(without, without.batch | swapped), score(without))


def test_published_is_a_set_encoder_whose_scores_are_probabilities(published):
    scores = score(published)
    assert np.all((scores > 0) & (scores < 1))
    swapped = {"rec_item": jnp.array([[3, 2, 1], [6, 0, 0], [7, 2, 0]])}
    np.testing.assert_allclose(score(published, published.batch | swapped), scores, rtol=1e-4)


def test_published_scores_depend_on_the_width_of_segments(published):
    """A pad inside the row moves the relative distances: a fault of the released prompts."""
    wide = {}
    for name, fill in (("prompt_tok", 0), ("prompt_slot", -1), ("prompt_mask", False)):
        array = published.constants[name]
        pads = jnp.full((len(array), 3), fill, array.dtype)
        wide[name] = jnp.concatenate([array[:, :1], pads, array[:, 1:]], axis=1)
    moved = score(published, constants=published.constants | wide)
    assert np.max(np.abs(moved / score(published) - 1)) > 1e-4


def test_folded_and_plain_attention_agree(make):
    case = make()
    close(score(case, folded=False), score(case))


@pytest.mark.parametrize("level", ["token", "item"])
def test_filter_weights_cover_history_and_null(make, level):
    case = make(semantic_level=level)
    weights = explain_filter(case.module, case.params, case.constants, case.batch)
    # rec slots 0 to 2, then the one click of each search: "order" of the fixture has the ages.
    assert weights.pop("history_place").tolist() == [[2, 3, 1, 0], [4, 0, -1, -1], [1, 4, 3, 0]]
    assert set(weights) == {"alpha_cf", "alpha_semantic"}
    for alpha in weights.values():
        assert alpha.shape == (3, 3, 5)
        np.testing.assert_allclose(alpha.sum(axis=-1), 1, rtol=1e-5)
    # List 1 has the items 7 and 6 and two pads, list 2 the untitled item 8 second to last.
    assert not np.any(weights["alpha_cf"][1, :, 3:])
    assert np.all(weights["alpha_cf"][2, :, 3] > 0)
    assert not np.any(weights["alpha_semantic"][2, :, 3])


def test_empty_history_has_all_its_weight_on_null(make):
    case = make()
    empty = case.batch | {
        "rec_item": jnp.zeros_like(case.batch["rec_item"]),
        "search_click": jnp.zeros_like(case.batch["search_click"]),
    }
    assert np.all(np.isfinite(score(case, empty)))
    weights = explain_filter(case.module, case.params, case.constants, empty)
    assert (weights.pop("history_place") == -1).all()
    for alpha in weights.values():
        np.testing.assert_allclose(alpha[..., 0], 1, rtol=1e-6)


@pytest.mark.parametrize("view", ["cf_view", "semantic_view"])
def test_a_view_that_is_off_counts_for_nothing(make, view):
    case = make(**{view: False})
    table = {"cf_view": "cf_table", "semantic_view": "title_full"}[view]
    other = case.constants | {table: case.constants[table][::-1]}
    close(score(case, constants=other), score(case))


def test_soft_tokens_have_the_size_of_words(make):
    case = make()
    settings = case.module.settings

    def tokens(model):
        histories = model.encode_histories(case.batch, case.constants, deterministic=True)
        return model.make_tokens(histories, case.batch["negatives"], case.constants).tokens

    gain = jnp.arange(1.0, 5.0)
    params = case.params | {"gain": gain}
    sized = case.constants | {"word_rms": jnp.float32(2.0)}
    case = case._replace(constants=sized)
    found = GenSR(settings).apply({"params": params}, method=tokens)
    rms = np.sqrt(np.square(found).mean(axis=-1))
    np.testing.assert_allclose(rms[0], np.tile(2 * gain, (2, 1)), rtol=1e-3)
    # Item 8 has no title: its semantic token is zero, not noise blown up.
    np.testing.assert_allclose(rms[1, 1], [2, 4, 6, 0], rtol=1e-3)
