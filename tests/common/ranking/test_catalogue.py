import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from common.ranking.catalogue import count_catalogue, split_catalogue

N, B, D = 1_500, 12, 20


def make_tables(seed=0):
    rng = np.random.default_rng(seed)
    users = rng.normal(size=(B, D)).astype(np.float32)
    items = rng.normal(size=(N + 1, D)).astype(np.float32)
    items[800:1_400] = items[1:601]  # ties between chunks
    items[601:700] = items[602:701]  # and inside one
    items[0] = 100 * users.sum(axis=0)  # padding that would win
    target = rng.integers(1, N + 1, size=B).astype(np.int32)
    target[:3] = 5, 804, N
    seen = np.zeros((B, 16), np.int32)
    for row in range(B):
        known = rng.choice(np.setdiff1d(np.arange(1, N + 1), target[row]), row, replace=False)
        seen[row, :row] = known
    seen[2, 15] = 805  # a pad in between does no harm
    return users, items, target, seen


@jax.jit
def run(users, items, target, seen, chunks):
    return count_catalogue(lambda chunk: users @ items[chunk].T, target, seen, chunks)


def count(users, items, target, seen, chunks):
    return jax.device_get(run(users, items, target, seen, chunks))


def count_densely(users, items, target, seen):
    """Numpy oracle; equal rows of the item table give equal scores by construction."""
    _, alike = np.unique(items, axis=0, return_inverse=True)
    scores = np.zeros((len(users), len(items)))
    for kind in np.unique(alike):
        members = np.flatnonzero(alike == kind)
        scores[:, members] = (users.astype(float) @ items[members[0]].astype(float))[:, None]
    greater, equal = [], []
    for row, own in enumerate(scores[np.arange(len(users)), target]):
        others = np.setdiff1d(np.arange(1, N + 1), [target[row], *seen[row]])
        greater.append((scores[row, others] > own).sum())
        equal.append((scores[row, others] == own).sum())
    return greater, equal


@pytest.mark.parametrize("chunk_bytes", [4 * B * 256, 4 * B * 512, 2**29])
def test_counts_are_those_of_a_dense_ranking(chunk_bytes):
    tables = make_tables()
    greater, equal = count_densely(*tables)
    assert max(equal) >= 1  # the case has ties
    chunks = split_catalogue(N, B, chunk_bytes)
    got = count(*tables, chunks)
    assert got.greater.tolist() == greater
    assert got.equal.tolist() == equal
    assert got.broken.tolist() == [0] * B
    assert got.greater.dtype == got.equal.dtype == np.int32


def test_chunks_cover_each_item_once_and_stay_within_the_bound():
    for n_items, batch, limit, shape in (
        (12_101, 512, 2**29, (1, 12_288)),
        (12_101, 512, 2**22, (6, 2_048)),
        (12_101, 512, 2**22 - 1, (12, 1_024)),
        (100_000, 512, 2**29, (1, 100_096)),  # as one, however large
        (673_000, 512, 2**29, (42, 2**14)),
        (673_000, 2, 2**22, (2, 2**19)),
        (10, 512, 1, (1, 256)),
        (1_000, 512, 1, (4, 256)),
    ):
        chunks = split_catalogue(n_items, batch, limit)
        assert chunks.shape == shape
        flat = chunks.ravel()
        np.testing.assert_array_equal(flat[:n_items], np.arange(1, n_items + 1))
        assert not flat[n_items:].any()


@pytest.mark.parametrize("dimension", [20, 33, 64])
def test_scores_have_the_same_bits_whatever_the_chunk_and_the_batch(dimension):
    """Random tables: a last bit that differs would turn some of the exact ties around."""
    rng = np.random.default_rng(dimension)
    users = rng.normal(size=(64, dimension)).astype(np.float32)
    items = rng.normal(size=(N + 1, dimension)).astype(np.float32)
    items[751:] = items[1:751]
    target = rng.integers(1, N + 1, size=64).astype(np.int32)
    seen = np.zeros((64, 16), np.int32)
    whole = count(users, items, target, seen, split_catalogue(N, 64))
    assert (whole.equal == 1).all()
    for chunk_bytes, size in ((4 * 64 * 256, 64), (4 * 64 * 512, 16), (4 * 64 * 256, 2)):
        chunks = split_catalogue(N, 64, chunk_bytes)
        assert len(chunks) > 1
        for begin in range(0, 64, size):
            part = slice(begin, begin + size)
            got = count(users[part], items, target[part], seen[part], chunks)
            np.testing.assert_array_equal(got.greater, whole.greater[part])
            np.testing.assert_array_equal(got.equal, whole.equal[part])


@pytest.mark.parametrize("chunk_bytes", [4 * B * 256, 2**29])
def test_a_score_that_is_no_number_is_reported_by_item(chunk_bytes):
    users, items, target, seen = make_tables()
    items[0] = np.nan  # padding is never ranked
    items[1_234] = np.inf
    users[:] = np.abs(users)
    users[4] = 0  # 0 * inf is nan
    got = count(users, items, target, seen, split_catalogue(N, B, chunk_bytes))
    assert got.broken.tolist() == [1_234] * B


def reachable(text, name):
    """The lines of a computation of an HLO module and of all that it calls."""
    bodies = dict(re.findall(r"^(?:ENTRY )?%?([\w.\-]+) .*?\{\n(.*?)^\}", text, re.M | re.S))
    lines, waiting = "", [name]
    while waiting:
        body = bodies.pop(waiting.pop(), "")
        lines += body
        waiting += [known for known in bodies if re.search(rf"%?{re.escape(known)}\b", body)]
    return lines


def test_the_encoder_runs_once_for_all_chunks():
    """What does not depend on the items must not stand in the loop of the compiled program."""
    users, items, target, seen = make_tables()
    chunks = split_catalogue(N, B, 4 * B * 256)
    assert len(chunks) == 6

    @jax.jit
    def run_encoder(users, items, target, seen):
        def score(chunk):
            return jnp.tan(users) @ items[chunk].T

        return count_catalogue(score, target, seen, chunks)

    text = run_encoder.lower(users, items, target, seen).compile().as_text()
    loops = [reachable(text, name) for name in re.findall(r"body=%?([\w.\-]+)", text)]
    assert loops
    assert all(loops)
    assert " tan(" in text
    assert not any(" tan(" in loop for loop in loops)
