"""L17 and L18: a text that names its target, or its buyer.

L17 asks the texts that a model has read when it is asked: the query of a search target itself; the
last query before an interaction; the text of the item taken right before. It asks how many
of the target's title words stand there; whether at least 80 % of them do (of titles of three words
and more; shorter ones are what people type); and whether the target's raw id does.

L18 asks whether the buyer's raw id stands in the text of the target or in the query.

Texts are compared word by word (`common.data.words`); ids of three characters and more also inside
words, as in `buyer_u00017`.

Shapes: [n] targets of a split part
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from common.data.audit_chance import NOTHING, Share, pair_randomly, spread_rows
from common.data.audit_columns import find_before
from common.data.audit_faults import Log
from common.data.audit_limits import Measure
from common.data.events import PARTS, TASKS
from common.data.words import find_words

Rows = Mapping[tuple[str, str], np.ndarray]

_MANY = 1_000  # rows of a part: 5,000 took 1.4 s on Beauty
_LONG = 2_000  # characters of a text that are read
_TITLE = 3  # distinct words of a title that are no coincidence
_WHOLE = 0.8  # of the words of a title: one left out of five is the title still
_ROUNDS = 1
_INSIDE = 3  # characters of an id that is looked for inside words too; shorter ones are anywhere


class _Text(NamedTuple):
    """What is compared of a text."""

    line: str  # " its words, one blank apart "
    words: frozenset[str]


class _Texts:
    """Texts of one vocabulary, read when they are asked for: id -> text."""

    def __init__(self, columns: list[pa.ChunkedArray], words: list[str]) -> None:
        """columns: texts, lists of texts, or lists of numbers of `words`."""
        self._columns, self._words = columns, words
        self._known: dict[int, _Text] = {}

    def read(self, ids: np.ndarray) -> None:
        """Prepares the texts of some ids; 0 has none."""
        new = [int(i) for i in np.unique(ids) if i > 0 and int(i) not in self._known]
        place = pa.array(np.array(new, np.int64) - 1)
        columns = [column.take(place).to_pylist() for column in self._columns]
        for i, *parts in zip(new, *columns, strict=True):
            self._known[i] = self._join(parts)
        self._known[0] = _Text("", frozenset())

    def __getitem__(self, i: int) -> _Text:
        return self._known[i]

    def _join(self, parts: list[str | list[str] | list[int] | None]) -> _Text:
        spelled = []
        for part in parts:
            entries = part if isinstance(part, list) else [part or ""]
            spelled += [self._words[e - 1] if isinstance(e, int) else e for e in entries]
        words = find_words(" ".join(spelled)[:_LONG])
        return _Text(f" {' '.join(words)} ", frozenset(words))


def measure_texts(log: Log, rows: Rows) -> list[Measure]:
    """How often a text names the target or the buyer, for every part of both tasks.

    rows: (task, part) -> row numbers of positives
    """
    tables = log.tables
    words = tables["tokens"]["word"].to_pylist()
    items, queries = tables["items"], tables["queries"]
    # Tokens stand for a text where there is none, as in anonymised logs.
    titles = _Texts([_either(items["title"], items["text_tok"])], words)
    texts = _Texts([items[name] for name in ("title", "text", "cat_path")], words)
    asked = _Texts([_either(queries["text"], queries["tok"])], words)
    names = {name: _Texts([tables[name]["raw_id"]], words) for name in ("items", "users")}
    measures = []
    for task in TASKS:
        for part in PARTS:
            chosen, where = spread_rows(rows[task, part], _MANY), f"{task}_{part}"
            events, rec = log.dataset.events(task), log.dataset.rec
            item = events.target[chosen].astype(np.int64)
            user = events.user[chosen].astype(np.int64)
            search = chosen if task == "search" else find_before(log, task, chosen, "search")
            query = np.where(search >= 0, _at(log.dataset.search.query, search), 0)
            before = find_before(log, task, chosen, "rec")
            last = np.where(before >= 0, _at(rec.item, before), 0)
            own = "the query" if task == "search" else "the query before"
            for table, ids in (
                (titles, item), (texts, item), (texts, last), (asked, query),
                (names["items"], item), (names["users"], user),
            ):  # fmt: skip
                table.read(ids)
            for source, said, told in ((asked, query, own), (texts, last, "the item before")):
                place = "query" if source is asked else "item"
                whole = _ask(said, item, _holds_title(source, titles))
                named = _ask(said, item, _holds_name(source, names["items"]))
                words = _ask(said, item, _count_words(source, titles))
                measures += [
                    Measure("L17", f"{place}/words", where, f"{told} has the target's title words",
                            words),
                    Measure("L17", f"{place}/title", where, f"{told} has the target's title",
                            whole, task, chosen),
                    Measure("L17", f"{place}/id", where, f"{told} has the target's raw id",
                            named, task, chosen),
                ]  # fmt: skip
            for source, said, told in ((texts, item, "the target's text"), (asked, query, own)):
                place = "query" if source is asked else "item"
                named = _ask(said, user, _holds_name(source, names["users"]))
                what = f"{told} has the buyer's raw id"
                measures.append(Measure("L18", place, where, what, named, task, chosen))
    return measures


def _ask(said: np.ndarray, answer: np.ndarray, holds: Callable[[int, int], float | None]) -> Share:
    """In what share of the rows the text `said` holds the answer; without rows that cannot say.

    said, answer: int64 [n], ids
    """
    if len(said) < 2:
        return NOTHING

    def look(partner: np.ndarray | slice) -> np.ndarray:
        pairs = zip(said.tolist(), answer[partner].tolist(), strict=True)
        found = [holds(text, name) for text, name in pairs]
        return np.array([np.nan if one is None else one for one in found], np.float64)

    own = look(slice(None))
    known = ~np.isnan(own)
    if not known.any():
        return NOTHING
    rounds = [look(partner) for partner in pair_randomly(len(said), _ROUNDS)]
    chance = np.concatenate(rounds)
    chance = chance[~np.isnan(chance)]
    share = float(own[known].mean())
    return Share(share, float(chance.mean()) if len(chance) else 0.0, int(known.sum()), own == 1)


def _holds_title(texts: _Texts, titles: _Texts) -> Callable[[int, int], bool | None]:
    def holds(text: int, item: int) -> bool | None:
        title = titles[item].words
        if not text or len(title) < _TITLE:
            return None
        return len(title & texts[text].words) >= _WHOLE * len(title)

    return holds


def _count_words(texts: _Texts, titles: _Texts) -> Callable[[int, int], float | None]:
    def count(text: int, item: int) -> float | None:
        title = titles[item].words
        return len(title & texts[text].words) / len(title) if text and title else None

    return count


def _holds_name(texts: _Texts, names: _Texts) -> Callable[[int, int], bool | None]:
    def holds(text: int, who: int) -> bool | None:
        name = names[who].line
        if not text or len(name) < 3:
            return None
        line = texts[text].line
        return name in line or (len(name) >= _INSIDE + 2 and name.strip() in line)

    return holds


def _either(texts: pa.ChunkedArray, tokens: pa.ChunkedArray) -> pa.ChunkedArray:
    """The texts, or the tokens where no row has a text."""
    return tokens if texts.null_count == len(texts) else texts


def _at(values: np.ndarray, row: np.ndarray) -> np.ndarray:
    """int64: the entries of rows; of row -1 any, or 0 where the table is empty."""
    return values[row].astype(np.int64) if len(values) else np.zeros(len(row), np.int64)
