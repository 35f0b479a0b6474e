"""The planted truth of the synthetic data: which search is useful, and for which click.

Only this module, `truth_tables` and `common.ranking.evidence` know these tables; models never see
them.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from common.data.readers.synthetic_clicks import Clicks
from common.data.readers.synthetic_searches import Searches
from common.data.readers.synthetic_tables import Log, list_column
from common.data.readers.synthetic_world import Items, Users


def make_truth(
    users: Users, items: Items, clicks: Clicks, searches: Searches, log: Log
) -> dict[str, pa.Table]:
    """What no model may read. Topics are numbered from 1; intents belong to clicks only."""
    row = np.flatnonzero(log.rec_label)
    click = log.rec_click[row]
    row_of = np.full(len(clicks.user), -1, np.int64)
    row_of[click] = row
    useful, lag = searches.useful[log.search], searches.lag[log.search]
    anchor = searches.before[log.search] + np.maximum(lag, 0)
    # A click beyond the cut or dropped as a repeat has no row.
    for_row = np.where(useful, row_of[anchor], -1)
    n_users, k = users.topics.shape
    return {
        "search": pa.table(
            {
                "row": np.arange(len(log.search)),
                "topic": (searches.topic[log.search] + 1).astype(np.int32),
                "useful": useful.astype(np.uint8),
                "for_row": for_row,
                "lag": lag.astype(np.int32),
            }
        ),
        "rec": pa.table(
            {
                "row": row,
                "intent": (clicks.intent[click] + 1).astype(np.int32),
                "item_topic": items.topic[log.rec_item[row]] + np.int32(1),
                "segment": clicks.segment[click],
                "new_intent": clicks.new_intent[click].astype(np.uint8),
                "on_intent": clicks.on_intent[click].astype(np.uint8),
            }
        ),
        "users": pa.table(
            {
                "user": np.arange(1, n_users + 1, dtype=np.int32),
                "topics": list_column(users.topics + 1, np.ones((n_users, k), bool)),
                "weights": list_column(
                    users.weights.astype(np.float32), np.ones((n_users, k), bool)
                ),
                "brand": users.brand + np.int32(1),
                "searcher": users.searcher.astype(np.uint8),
            }
        ),
        "items": pa.table(
            {
                "item": np.arange(1, len(items.topic), dtype=np.int32),
                "topic": items.topic[1:] + np.int32(1),
            }
        ),
    }
