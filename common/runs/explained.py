"""An explanation in the hand: text, tables, arrays and a picture."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from common.data.names import User
from common.runs.cases import Case

# Rows of `FinishedRun.rank`
RANKED = pa.schema(
    [
        ("user", pa.string()),
        ("place", pa.int32()),
        ("item", pa.string()),
        ("score", pa.float32()),
        ("title", pa.string()),
    ]
)


@dataclass(frozen=True)
class Explained:
    """What a model relied on for one target of one user."""

    user: str  # raw id
    task: str  # "rec" or "search"
    part: str  # "test", "valid", or "next": after the whole history
    text: str  # at most 100 columns wide
    content: Mapping[str, Any]  # everything, as WORKDIR/explain/ID.json has it
    recommendations: pa.Table  # place, item, score, title
    evidence: np.ndarray  # float64 [N + 1, K]: of N searches, the oldest first, and of "nothing
    #                       useful", for K reasoning steps; [0, 0] where a method has none
    searches: pa.Table  # query, age, evidence (mean over the steps); empty where there is none
    draw: Callable[[str | Path], None]  # draw(path) makes a PNG; raises InputError, WriteError


def wrap(
    user: User,
    case: Case,
    content: Mapping[str, Any],
    text: str,
    draw: Callable[[Path, Mapping[str, Any]], None],
) -> Explained:
    """What `content` says of a case. text: the same at a glance; draw(path, content): as of a
    method's `Explainer`"""
    searches = content.get("searches", [])
    entries = [*searches, content["null_event"]] if "null_event" in content else []
    steps = [entry["evidence"]["steps"] for entry in entries]
    listed = [
        {"query": s["query"], "age": s["age"], "evidence": s["evidence"]["mean"]} for s in searches
    ]
    recommended = [
        {
            "place": item["rank"],
            "item": item["raw_id"],
            "score": item["score"],
            "title": item["title"],
        }
        for item in content["recommendations"]
    ]
    columns = [RANKED.field(name) for name in ("place", "item", "score", "title")]
    ages = [("query", pa.string()), ("age", pa.string()), ("evidence", pa.float64())]
    return Explained(
        user=user.raw_id,
        task=case.task,
        part=case.part,
        text=text,
        content=content,
        recommendations=pa.Table.from_pylist(recommended, schema=pa.schema(columns)),
        evidence=np.array(steps, np.float64) if steps else np.zeros((0, 0)),
        searches=pa.Table.from_pylist(listed, schema=pa.schema(ages)),
        draw=lambda path: draw(Path(path), content),
    )
