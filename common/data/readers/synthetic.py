"""Synthetic data with planted truth: users with drifting intents, and searches that do or do not
say what they will click next.

A click belongs to an intent, a topic that lasts for a few clicks. Before a click a user may
search. A useful search is about the intent of one of the next clicks; any other search is about a
topic that none of them has. Nothing else tells the two apart: same time before the click, same
words for the topic, same chance of a clicked result. A model has to learn from the user's other
clicks which searches to trust, and the truth tables say whether it did.
"""

from __future__ import annotations

from dataclasses import asdict, fields, replace
from typing import Any

import numpy as np

from common.data.readers.synthetic_clicks import Wishes, draw_clicks, settle_items
from common.data.readers.synthetic_searches import draw_results, draw_searches, time_clicks
from common.data.readers.synthetic_tables import (
    make_event_tables,
    make_items_table,
    make_queries,
    make_users_table,
    make_vocabulary,
    order_log,
    spell_names,
)
from common.data.readers.synthetic_truth import make_truth
from common.data.readers.synthetic_world import (
    Params,
    Uniforms,
    make_items,
    make_topics,
    make_users,
)
from common.data.schema import SourceTables, conform_table
from common.data.vocabulary import tabulate_tokens
from common.errors import InputError

VERSION = "2"  # of the generator: raise it whenever the same seed gives other data

PRESETS = {
    # Unit tests: about 650 clicks and 280 searches.
    "tiny": Params(
        users=64, items=120, topics=6, groups=2, min_clicks=5, mean_clicks=12, max_clicks=25,
        exposures=1, shown=5, negatives=19,
    ),
    # Trains in one to two minutes on two CPU cores: about 58,000 clicks and 21,700 searches.
    "demo": Params(
        users=2_000, items=1_000, topics=20, groups=5, min_clicks=5, mean_clicks=30, max_clicks=60,
    ),
    # The size of KuaiSAR, for throughput: 14.6 M rec rows and 5.1 M search results.
    "kuaisar_scale": Params(
        users=25_877, items=6_890_707, topics=1_000, groups=40, min_clicks=5, mean_clicks=282,
        max_clicks=3_000, search_rate=0.065, brands=50, exposures=1, shown=12,
        words_per_topic=200, common_words=2_000, text=False, tie_batches=5,
    ),
}  # fmt: skip


def generate(preset: str = "demo", seed: int = 0, **overrides: Any) -> SourceTables:
    """Makes a data set: a function of the preset, the seed and the overrides alone.

    preset:    one of `PRESETS`
    overrides: fields of `Params`, e.g. noise="user" or useful_share=0.0
    Returns the canonical tables with the planted truth. Raises InputError for an unknown preset
    or field and for values that cannot work. Source: ours.
    """
    params = _choose_params(preset, overrides)
    streams = (Uniforms(seed, number) for number in range(100))
    topics = make_topics(params)
    items = make_items(params, topics, next(streams))
    users = make_users(params, next(streams))
    clicks = draw_clicks(params, users, next(streams))
    searches = draw_searches(params, topics, users, clicks, next(streams))

    # One pool of wishes for both services, in order of time, so no item is taken twice.
    search, nth = np.nonzero(searches.clicks[:, None] > np.arange(2))
    click = np.flatnonzero(clicks.kept)
    at = np.concatenate([2 * searches.before[search], 2 * click + 1])
    order = np.argsort(at, kind="stable")
    stray = np.where(clicks.on_intent[click], clicks.intent[click], -1)
    wishes = Wishes(
        user=clicks.user[at // 2][order],
        topic=np.concatenate([searches.topic[search], stray])[order],
        loyal=(at % 2 == 1)[order],
    )
    settled = np.empty(len(at), np.int32)
    settled[order] = settle_items(params, items, users, wishes, next(streams))
    clicked = np.zeros((len(searches.before), 2), np.int32)
    clicked[search, nth] = settled[: len(search)]
    clicked = np.take_along_axis(clicked, np.argsort(clicked == 0, axis=1, kind="stable"), axis=1)
    click_item = np.zeros(len(clicks.user), np.int32)
    click_item[click] = settled[len(search) :]

    results = draw_results(params, items, searches.topic, clicked, next(streams))
    log = order_log(params, items, clicks, searches, click_item, next(streams))
    results, clicked = results[log.search], clicked[log.search]
    is_clicked = ((results[:, :, None] == clicked[:, None, :]) & (results[:, :, None] > 0)).any(-1)

    spellings, categories = spell_names(params, topics, next(streams))
    words = make_vocabulary(params, topics, spellings)
    queries, query = make_queries(params, searches, log, words)
    catalogue = make_items_table(
        params, topics, items, log, results, words, categories, next(streams)
    )
    click_ts = time_clicks(params, searches.ts[log.search], is_clicked, next(streams))
    rec_table, search_table = make_event_tables(
        clicks, searches, log, query, results, is_clicked, click_ts
    )
    tables = {
        "users": make_users_table(params.users),
        "items": catalogue,
        "queries": queries,
        "tokens": tabulate_tokens(words.words),
        "rec": rec_table,
        "search": search_table,
    }
    return SourceTables(
        **{name: conform_table(name, table) for name, table in tables.items()},
        truth=make_truth(users, items, clicks, searches, log),
        meta={
            "name": preset,
            "version": VERSION,
            "licence": "none needed: generated by this project",
            "redistributable": True,
            "time_resolution": params.resolution,
            "sources": [],
            "filters": {},
            "pseudo_query": None,
            "click_times": {"given": int(is_clicked.sum()), "matched": 0, "unmatched": 0},
            "notes": ["synthetic data with planted truth"],
            "negatives": params.negatives,
            "truth_params": {"generator": VERSION, "preset": preset, "seed": seed} | asdict(params),
        },
    )


def _choose_params(preset: str, overrides: dict[str, Any]) -> Params:
    if preset not in PRESETS:
        raise InputError(f"preset {preset!r}: no such preset; use one of {', '.join(PRESETS)}")
    names = [field.name for field in fields(Params)]
    for name in overrides:
        if name not in names:
            raise InputError(
                f"preset {preset}, option {name}: no such option; use one of {', '.join(names)}"
            )
    params = replace(PRESETS[preset], **overrides)
    needs = [
        (params.users >= 1, "users must be at least 1"),
        (params.topics > params.horizon, "topics must be more than horizon"),
        (params.horizon >= 1, "horizon must be at least 1"),
        (1 <= params.topics_per_user <= params.topics, "topics_per_user must be 1 to topics"),
        (1 <= params.groups <= params.topics, "groups must be 1 to topics"),
        (params.items >= params.topics, "every topic needs an item: items >= topics"),
        (params.shown >= 2, "shown must be at least 2, as many as a search has clicks"),
        (
            1 <= params.min_clicks < params.mean_clicks and params.min_clicks <= params.max_clicks,
            "clicks need 1 <= min_clicks < mean_clicks and min_clicks <= max_clicks",
        ),
        (params.noise in ("random", "user"), 'noise must be "random" or "user"'),
        (params.resolution in ("ms", "day"), 'resolution must be "ms" or "day"'),
        (params.tie_batches >= 1, "tie_batches must be at least 1"),
    ]
    for holds, what in needs:
        if not holds:
            raise InputError(f"preset {preset}: options do not fit; {what}")
    return params
