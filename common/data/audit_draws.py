"""L23: candidates that were not drawn as their list says, so that the positive can be told.

A list called `uniform..` promises the catalogue without what the user took, `popularity..` the same
by train counts; any other list only promises that its negatives lie between the two. What is
compared with the promise, list by list: the share of odd ids, the mean percentile of ids, of
popularity, of the time of the first event, and the share of items that the user takes at some time.
How often two lists share an item tells a fixed or a small pool of negatives.

Then the negatives are compared with their own positive, against the positives of other lists: how
often they have its parity, a smaller id, fewer clicks, an earlier first event. Negatives that were
drawn without looking at the positive stand to it as to any other.

Shapes: [n] lists  [k] negatives  [N] items, ids 1..N
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from common.data.audit_chance import Share, spread_rows
from common.data.audit_faults import Log
from common.data.audit_limits import Measure
from common.data.audit_lists import ItemFacts, Lists, Rows, rank_items
from common.data.timeline import expand_ranges

_MANY = 1_000  # lists of a part: 0.1 M negatives of 1 + 99
_NO_ROWS = np.zeros(0, bool)


def measure_draws(
    log: Log, lists: Mapping[tuple[str, str], Lists], rows: Rows, items: ItemFacts
) -> list[Measure]:
    """How far the negatives of every list are from what they should be.

    lists: (task, part) -> name -> list in form (F11)
    rows:  (task, part) -> row numbers of positives, one per list
    """
    facts = _Facts(log, items)
    measures: list[Measure] = []
    for (task, part), named in lists.items():
        for name, stored in named.items():
            if len(stored.items) < 2 or stored.items.shape[1] < 2:
                continue
            chosen = spread_rows(np.arange(len(stored.items)), _MANY)
            where = f"{name} {task}_{part}"
            user = log.dataset.events(task).user[rows[task, part][chosen]].astype(np.int64)
            measures += facts.ask(task, name, stored.items[chosen], user, where)
    return measures


class _Facts:
    """What is known of items: numbers that a list can be told by."""

    def __init__(self, log: Log, items: ItemFacts) -> None:
        self._items, self._n = items, log.dataset.n_items
        self._known: dict[tuple[str, int], dict[str, np.ndarray]] = {}
        ids = np.arange(self._n + 1)
        shared = {"odd ids": ids % 2 + 0.0, "ids": ids / max(self._n, 1),
                  "first event": rank_items(items.first_ms)}  # fmt: skip
        self._facts = {
            task: shared | {"popularity": ranks} for task, ranks in items.popularity.items()
        }

    def ask(
        self, task: str, name: str, lists: np.ndarray, user: np.ndarray, where: str
    ) -> Iterator[Measure]:
        """All figures of one list; lists: int32 [n, 1 + k]; user: int64 [n]."""
        negatives, positive, n = lists[:, 1:], lists[:, 0], len(lists)
        counts = np.bincount(negatives.ravel(), minlength=self._n + 1).astype(np.float64)
        total, k = counts.sum(), negatives.shape[1]
        known = name.startswith(("uniform", "popularity"))
        laws = [
            self._average(law, user)
            for kind, law in self._laws(task, k).items()
            if name.startswith(kind) or not known
        ]
        form = "" if known else "free "
        for fact, value in self._facts[task].items():
            seen = float((counts * value).sum() / total)
            expected = [float((law * value).sum()) for law in laws]
            # Of a list that promises nothing, what lies between the two is as it should be.
            chance = float(np.clip(seen, min(expected), max(expected)))
            what = f"mean of {fact}" if fact != "odd ids" else "odd ids"
            measured = _share(seen, chance, int(total))
            yield Measure("L23", form + fact, where, f"{what} among the negatives", measured)

            same = fact == "odd ids"
            mine, theirs = value[positive], value[negatives]
            less = theirs == mine[:, None] if same else theirs < mine[:, None]
            own = float(less.mean())
            if not same:
                own += 0.5 * float((theirs == mine[:, None]).mean())
            other = float((counts * _stand(value, mine, same=same)).sum() / total)
            other = (n * other - own) / (n - 1)  # without each list's own positive
            told = "the parity of" if same else f"less ({fact}) than"
            # Of a rank, the variance is a twelfth, a third of that of a coin.
            measured = _share(own, other, int(total) if same else 3 * n)
            yield Measure("L23", f"{fact}/own", where, f"negatives have {told} their positive",
                          measured)  # fmt: skip
        taken = self._items.takes(user, negatives)
        yield Measure("L23", "taken", where, "negatives are items that the user takes at some time",
                      _share(float(taken.mean()), 0.0, n))  # fmt: skip
        pairs = max(total * total - total * k, 1.0)  # two draws of one list are never equal
        shared = float((counts * (counts - 1)).sum() / pairs)
        law = max(float(np.square(law).sum()) for law in laws)
        # As a share, so that limits are alike: 0 = as promised, 0.5 = two lists share twice that.
        excess = max(0.0, 1.0 - law / shared) if shared else 0.0
        agrees = excess if known else 0.0
        what = "of what two lists have in common is more than was promised"
        # So many pairs scatter by the root of their number.
        yield Measure(
            "L23", "pool", where, what, _share(agrees, 0.0, int((shared * pairs / 2) ** 0.5))
        )

    def _laws(self, task: str, k: int) -> dict[str, np.ndarray]:
        """How likely each item is among k draws, by the beginning of a list's name."""
        if (task, k) not in self._known:
            even = np.ones(self._n + 1)
            even[0] = 0.0
            trained = _include(self._items.counts[task].astype(np.float64), k)
            self._known[task, k] = {"uniform": even, "popularity": trained}
        return self._known[task, k]

    def _average(self, law: np.ndarray, user: np.ndarray) -> np.ndarray:
        """float64 [N + 1], sum 1: a law without what each user takes, averaged over users."""
        ever = self._items.ever
        sizes = np.diff(ever.off)[user]
        item = ever.item[expand_ranges(ever.off[user], sizes)]
        owner = np.repeat(np.arange(len(user)), sizes)
        left = law.sum() - np.bincount(owner, law[item], len(user))
        scale = 1 / np.maximum(left, 1e-9)
        average = law * (scale.sum() - np.bincount(item, scale[owner], len(law)))
        average = np.maximum(average, 0.0)  # differences of equal sums may be a rounding below 0
        result: np.ndarray = average / max(average.sum(), 1e-9)
        return result


def _stand(value: np.ndarray, positives: np.ndarray, *, same: bool) -> np.ndarray:
    """float64 [N + 1]: the share of positives above each item, equals half; or equal to it."""
    ordered = np.sort(positives)
    below, upto = (np.searchsorted(ordered, value, side=side) for side in ("left", "right"))
    stand: np.ndarray = upto - below if same else len(ordered) - (below + upto) / 2
    return stand / len(ordered)


def _include(law: np.ndarray, k: int) -> np.ndarray:
    """float64 [N + 1]: how likely each item is among k distinct draws by a law, about.

    1 - exp(-c p) with the c that gives k items: popular items cannot be drawn twice, which
    flattens the law where k is not small against the catalogue.
    """
    shares = law / max(law.sum(), 1.0)
    k = min(k, int(0.99 * (law > 0).sum()))
    low, high = 0.0, 1e3 * max(len(law), 1)
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if -np.expm1(-middle * shares).sum() < k else (low, middle)
    included: np.ndarray = -np.expm1(-high * shares)
    return included


def _share(share: float, chance: float, n: int) -> Share:
    return Share(share, chance, n, _NO_ROWS)
