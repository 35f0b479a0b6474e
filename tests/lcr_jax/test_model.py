"""What the LCR model must and must not depend on."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

CASES = {  # each option once
    "merged": {},
    "grounded, support": {"encoder": "grounded", "support": True},
    "dual, user": {"encoder": "dual", "user": True},
    "dot, reground": {"scorer": "dot", "reground": True, "gate": False},
    "no null event": {"null_event": False},
    "no reasoning": {"steps": 0},
}


@pytest.fixture(params=CASES.values(), ids=CASES.keys())
def model(request, build_model):
    return build_model(**request.param)


def test_content_of_pads_changes_nothing(model, build_batch):
    batch = build_batch([3, 5, 1, 0], [2, 4, 0, 3])
    scores, reasoning = model.run(batch)
    rec, search = batch["rec_mask"] == 0, batch["search_mask"] == 0
    dirty = batch | {
        "rec_item": jnp.where(rec, 7, batch["rec_item"]),
        "search_query": jnp.where(search, 5, batch["search_query"]),
        "search_click": jnp.where(search[..., None], 9, batch["search_click"]),
    }
    other_scores, other = model.run(dirty)
    np.testing.assert_allclose(other_scores, scores, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(other.mean_evidence, reasoning.mean_evidence, atol=1e-6)


def test_order_carries_the_time(model, build_batch):
    """Events may stand in any slot; their recency ranks say when they happened."""
    batch = build_batch([5] * 4, [4] * 4)
    scores, reasoning = model.run(batch)
    rec, search = np.array([3, 0, 4, 1, 2]), np.array([2, 3, 0, 1])
    order = np.concatenate([batch["order"][:, :5][:, rec], batch["order"][:, 5:][:, search]], 1)
    moved = batch | {
        "rec_item": batch["rec_item"][:, rec],
        "search_query": batch["search_query"][:, search],
        "search_click": batch["search_click"][:, search],
        "order": jnp.asarray(order),
    }
    moved_scores, moved_reasoning = model.run(moved)
    np.testing.assert_allclose(moved_scores, scores, rtol=1e-4, atol=1e-4)  # of about 20
    np.testing.assert_allclose(
        moved_reasoning.mean_evidence[:, 1:], reasoning.mean_evidence[:, 1:][:, search], atol=1e-5
    )
    swapped = moved | {"order": batch["order"]}
    assert np.abs(model.run(swapped)[0] - scores).max() > 1e-3


def test_evidence_sums_to_one_over_real_events(model, build_batch):
    batch = build_batch([3, 0, 2, 0], [2, 4, 0, 0])
    _, reasoning = model.run(batch)
    real = np.concatenate([np.ones((4, 1)), batch["search_mask"]], axis=1) > 0
    np.testing.assert_allclose(reasoning.mean_evidence.sum(axis=1), 1, rtol=1e-5)
    assert np.all(np.asarray(reasoning.mean_evidence)[~real] == 0)
    if reasoning.evidence.shape[1]:
        np.testing.assert_allclose(reasoning.evidence.sum(axis=-1), 1, rtol=1e-5)


def test_empty_histories_are_finite_in_value_and_gradient(model, build_batch):
    batch = build_batch([0, 0, 3, 0], [0, 3, 0, 0])
    scores, _ = model.run(batch)
    assert np.all(np.isfinite(scores))
    gradient = model.gradient(batch)
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(gradient))


def test_a_candidate_does_not_see_the_others(model, build_batch):
    batch = build_batch([3, 2, 5, 0], [2, 3, 0, 1])
    scores, reasoning = model.run(batch)
    changed = batch | {"negatives": batch["negatives"].at[:, 1:].set(11)}
    other_scores, other = model.run(changed)
    np.testing.assert_allclose(other_scores[:, :2], scores[:, :2], rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(other.states, reasoning.states)


def test_a_row_does_not_see_its_batch_mates(model, build_batch):
    batch = build_batch([3, 5, 1, 0], [2, 4, 0, 1])
    scores, _ = model.run(batch)
    alone, _ = model.run({k: v[jnp.array([1, 1, 1, 1])] for k, v in batch.items()})
    np.testing.assert_allclose(alone[0], scores[1], rtol=1e-4, atol=1e-4)


def test_no_searches_equal_search_switched_off(build_model, build_batch):
    model = build_model()
    batch = build_batch([3, 2, 5, 0], [0] * 4)
    without = batch | {
        "search_query": jnp.zeros_like(batch["search_query"]),
        "search_click": jnp.zeros_like(batch["search_click"]),
    }
    scores, reasoning = model.run(batch)
    np.testing.assert_array_equal(scores, model.run(without)[0])
    np.testing.assert_allclose(reasoning.mean_evidence[:, 0], 1, rtol=1e-6)


def test_later_steps_do_not_change_earlier_ones(build_model, build_batch):
    long, batch = build_model(), build_batch([3, 2, 5, 0], [2, 3, 0, 1])
    reasoner = long.params["reasoner"]
    places = reasoner["places"]
    states = long.run(batch)[1].states
    changed = {**long.params, "reasoner": {**reasoner, "places": places.at[2].add(1)}}
    other = long.run(batch, changed)[1].states
    np.testing.assert_array_equal(other[:, :2], states[:, :2])
    assert np.abs(other[:, 2] - states[:, 2]).max() > 1e-3
    short = build_model(steps=1)
    cut = {**long.params, "reasoner": {**reasoner, "places": places[:2]}}
    np.testing.assert_allclose(short.run(batch, cut)[1].states, states[:, :2], rtol=1e-5)


def test_a_shut_gate_lets_no_evidence_in(build_model, build_batch):
    model, batch = build_model(scorer="dot"), build_batch([3, 2, 5, 0], [2, 3, 0, 1])
    gate = {"kernel": jnp.zeros_like(model.params["reasoner"]["gate"]["kernel"])}
    gate["bias"] = jnp.full_like(model.params["reasoner"]["gate"]["bias"], -100.0)
    reasoner = {**model.params["reasoner"], "gate": gate}
    shut = {**model.params, "reasoner": reasoner}
    value = {"cross_search": jax.tree.map(lambda x: x + 1.0, reasoner["cross_search"])}
    other = {**shut, "reasoner": reasoner | value}
    np.testing.assert_allclose(model.run(batch, other)[0], model.run(batch, shut)[0], rtol=1e-5)
    assert np.abs(model.run(batch)[0] - model.run(batch, shut)[0]).max() > 1e-3


def test_grounded_searches_come_in_through_the_evidence_alone(build_model, build_batch):
    """With the gate shut nothing of a search may reach the scores; merged lets it in elsewhere."""
    batch = build_batch([3, 2, 5, 1], [2, 3, 4, 1])
    other = batch | {"search_query": jnp.where(batch["search_mask"], 7, 0)}
    changes = {}
    for encoder in ("grounded", "merged"):
        model = build_model(encoder=encoder, scorer="dot")
        gate = jax.tree.map(jnp.zeros_like, model.params["reasoner"]["gate"])
        gate["bias"] = jnp.full_like(gate["bias"], -100.0)
        shut = {**model.params, "reasoner": {**model.params["reasoner"], "gate": gate}}
        changes[encoder] = np.abs(model.run(other, shut)[0] - model.run(batch, shut)[0]).max()
    assert changes["grounded"] < 1e-6
    assert changes["merged"] > 1e-3
