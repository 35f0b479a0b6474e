"""What other users' searches do to a batch, and what they must leave alone."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lcr_jax.distractors import add_distractors

M, N = 5, 4  # of the fixture's batches


def events(batch, row):
    """(rank, kind, id) of a row's real events, newest first, checked for their form."""
    rec, search = (
        np.asarray(batch["rec_mask"][row]) != 0,
        np.asarray(batch["search_mask"][row]) != 0,
    )
    order = np.asarray(batch["order"][row])
    assert (np.diff(search.astype(int)) <= 0).all()  # pads at the end
    assert (np.diff(order[M:][search]) < 0).all()  # oldest first
    assert (order[~np.concatenate([rec, search])] == M + N).all()
    assert not np.asarray(batch["search_query"][row])[~search].any()
    assert not np.asarray(batch["search_click"][row])[~search].any()
    found = [(int(order[i]), "rec", int(batch["rec_item"][row, i])) for i in np.flatnonzero(rec)]
    found += [
        (int(order[M + i]), "search", int(batch["search_query"][row, i]))
        for i in np.flatnonzero(search)
    ]
    return sorted(found)


def sort_slots(batch):
    """The fixture's searches stand in any order; those of real batches are oldest first."""
    order = np.asarray(batch["order"]).copy()
    for row in range(len(order)):
        count = int(batch["search_mask"][row].sum())
        order[row, M : M + count] = np.sort(order[row, M : M + count])[::-1]
    return batch | {"order": jnp.asarray(order)}


@pytest.fixture
def batch(build_batch):
    return sort_slots(build_batch([3, 5, 1, 0, 0], [2, 4, 0, 3, 0]))


@pytest.mark.parametrize("seed", range(4))
def test_own_events_stay_in_their_order(batch, seed):
    mixed = add_distractors(batch, 0.7, jax.random.key(seed))
    gained = 0
    for row in range(5):
        before, after = events(batch, row), events(mixed, row)
        own, ids = [e[1:] for e in before], [e[1:] for e in after]
        assert [e for e in ids if e[0] == "rec"] == [e for e in own if e[0] == "rec"]
        kept = [e for e in ids if e in own]
        assert kept == [e for e in own if e in kept]
        assert sum(e[0] == "search" for e in ids) <= N
        # An own search falls out only where newer ones fill the memory.
        if len(kept) < len(own):
            assert sum(e[0] == "search" for e in ids) == N
        gained += len(ids) - len(kept)
    assert events(mixed, 4) == []  # nobody there to distract
    assert gained > 0


def test_all_of_the_donor_or_none(batch):
    nothing = add_distractors(batch, 0.0, jax.random.key(0))
    for name in ("search_query", "search_click", "search_mask", "order"):
        np.testing.assert_array_equal(nothing[name], batch[name])
    full = add_distractors(batch, 1.0, jax.random.key(3))
    np.testing.assert_array_equal(full["rec_item"], batch["rec_item"])
    before = batch["search_mask"].sum(axis=1)
    after = np.asarray(full["search_mask"].sum(axis=1))
    shifts = [np.minimum(np.roll(before, -shift) + before, N) for shift in range(1, 5)]
    shifts = [np.where([1, 1, 1, 1, 0], each, 0) for each in shifts]
    assert any((after == each).all() for each in shifts)


def test_a_distractor_has_no_click_on_the_target(batch):
    clicked = batch | {"search_click": jnp.where(batch["search_click"] != 0, 7, 0)}
    clicked |= {"target": jnp.full(5, 7), "search_mask": batch["search_mask"]}
    mixed = add_distractors(clicked, 1.0, jax.random.key(1))
    own = {int(q) for q in np.asarray(batch["search_query"][2]) if q}
    assert not own  # row 2 has no search of its own: what it has now is another row's
    assert not np.asarray(mixed["search_click"][2]).any()
