"""Measures what the audit says of clean data and of planted leaks: the tables of docs/audit.md.

    python tests/golden/measure_audit.py [FOLDER_OF_AMAZON_BEAUTY FOLDER_OF_A_SHOP_LOG]

Without the folders it measures the synthetic sets alone. It prints, for every limit of
`common.data.audit_limits`, the largest excess over chance that 500 rows and more of a clean set
have, in points, and how much of the way to a look any clean figure went, of any number of rows;
and then the figures of each plant on `demo`. About three minutes on two cores.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "common" / "data")]

from audit_plants import PLANTS, Scene, load_scene, measure_scene  # noqa: E402

from common.data.audit_limits import LIMITS, find_approach, find_excess, find_level  # noqa: E402
from common.data.folder import PrepareSettings, write_dataset  # noqa: E402
from common.data.hashing import draw_words  # noqa: E402
from common.data.pseudo_queries import Recipe  # noqa: E402
from common.data.readers.amazon_2014 import read_amazon  # noqa: E402
from common.data.readers.synthetic import generate  # noqa: E402
from common.data.readers.table_options import TableOptions  # noqa: E402
from common.data.readers.tables import read_tables  # noqa: E402
from common.data.schema import SourceTables  # noqa: E402

SPLITS = ("leave_one_out_joint", "global_time")
MANY = 500  # rows; what fewer have is mostly scatter


def make_sources(raw: list[str]) -> Iterator[tuple[str, SourceTables]]:
    """The clean sets by name; each is audited in two splits."""
    for seed in range(3):
        yield f"tiny, seed {seed}", generate("tiny", seed)
    yield "tiny, 20 users", generate("tiny", 0, users=20)
    yield "tiny, days, repeats", generate("tiny", 0, users=400, resolution="day", repeat_rate=0.5)
    for seed in range(2):
        yield f"demo, seed {seed}", generate("demo", seed)
    yield "demo, noise of the user", generate("demo", 2, noise="user")
    yield "demo, ties, no texts", generate("demo", 3, tie_batches=5, text=False)
    yield "demo, loyal", generate("demo", 4, loyal=0.9, brands=50, zipf=1.1)
    if raw:
        beauty, shop = map(Path, raw)
        yield "Beauty", read_amazon(beauty)
        recipe = Recipe(search_share=0.5, mode="move")
        yield "Beauty, half moved to search", read_amazon(beauty, recipe=recipe)
        yield "shop log", read_tables(shop, TableOptions())


def shuffle(scene: Scene) -> Scene:
    """The same log with its items in a random order: nothing in it says anything."""
    rec, search = scene.dataset.rec, scene.dataset.search
    order = np.argsort(draw_words(3, 0, np.arange(len(rec.item)), 0), kind="stable")
    changed = rec._replace(item=np.where(rec.positive, rec.item[order], rec.item).astype(np.int32))
    order = np.argsort(draw_words(3, 0, np.arange(len(search.click_item)), 1), kind="stable")
    items = search.click_item[order]
    target = search.target.copy()
    target[search.positive] = items[search.click_off[:-1][search.positive]]
    data = scene.dataset
    return scene._replace(
        dataset=type(data)(
            **{**vars(data), "rec": changed, "load_lists": lambda task, part: {},
               "search": search._replace(click_item=items, target=target)}
        )
    )  # fmt: skip


def main() -> None:
    """Prints both tables."""
    largest: dict[tuple[str, str], tuple[float, str]] = {}
    nearest: dict[tuple[str, str], float] = {}
    demo = None
    with tempfile.TemporaryDirectory() as place:
        for number, (name, source) in enumerate(make_sources(sys.argv[1:])):
            folder = Path(place) / str(number)
            write_dataset(folder, source, PrepareSettings(splits=SPLITS))
            scenes = [(f"{name}, {split}", load_scene(folder, split)) for split in SPLITS]
            if name == "demo, seed 0":
                demo = scenes[0][1]
                scenes.append((f"{name}, items shuffled", shuffle(demo)))
            for where, scene in scenes:
                measures, found = measure_scene(scene)
                verdict = [f"{f.check} {f.where}: {f.what}" for f in found.faults + found.looks]
                print(f"{where}: {verdict or 'clean'}", flush=True)
                for measure in measures:
                    key, excess = (measure.check, measure.name), find_excess(measure)
                    nearest[key] = max(nearest.get(key, 0.0), find_approach(measure))
                    if measure.share.n >= MANY and excess > largest.get(key, (-1.0, ""))[0]:
                        largest[key] = excess, where
        print("\n| figure | clean, at most | on | to a look, at most | look from | leak from |")
        print("|---|---|---|---|---|---|")
        for key, limit in LIMITS.items():
            excess, where = largest.get(key, (0.0, "-"))
            leak = f"{100 * limit.leak:.0f}" if limit.leak <= 1 else "never"
            told = [" ".join(key), f"{100 * excess:.1f}", where]
            told += [f"{100 * nearest.get(key, 0):.0f} %", f"{100 * limit.look:.0f}", leak]
            print(f"| {' | '.join(told)} |")
        print("\n| planted | figure | share | chance | verdict |\n|---|---|---|---|---|")
        assert demo is not None
        for name, (plant, check, _) in PLANTS.items():
            measures, _ = measure_scene(plant(demo))
            found_by = [m for m in measures if m.check == check and find_level(m)]
            best = max(found_by, key=lambda m: (find_level(m) == "leak", find_excess(m)))
            share = best.share
            print(f"| {name} | {check} {best.name} | {100 * share.share:.1f} | "
                  f"{100 * share.chance:.1f} | {find_level(best)} |")  # fmt: skip


if __name__ == "__main__":
    main()
