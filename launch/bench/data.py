"""Examples a second of the batch source, and how long a trainer waits for it.

    python -m launch.bench data [--data=DIR | --preset=demo] [--history=30] [--out=FILE.json]

Without --data a synthetic dataset is made in a temporary folder. Prints the median, the smallest
and the largest of several timed blocks of batches, after one block of warm-up: the source alone,
and read ahead by grain. Then trains LCR for an epoch on the same batches (--notrain leaves it out)
and prints the share of the step time that it spends waiting for the next batch.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from common.settings.fields import setting
from launch.bench.subjects import Report, Subject
from launch.bench.summaries import summarize

if TYPE_CHECKING:
    from common.data.batches import Batch
    from common.data.dataset import Dataset


@dataclass(frozen=True)
class Flags:
    """Which batches, and how many."""

    data: str = setting("", "dataset folder")
    preset: str = setting("demo", "synthetic preset, without --data")
    task: Literal["rec", "search"] = setting("rec", "which targets")
    history: int = setting(30, "rec events, and searches, of a history", least=0)
    negatives: int = setting(4, "negatives of a row", least=0)
    batch: int = setting(1024, "rows of a batch", least=1)
    blocks: int = setting(7, "timed blocks", least=5)
    batches: int = setting(200, "batches of a block", least=1)
    train: bool = setting(True, "measure a trainer's waiting too")


def measure(flags: Flags) -> Report:
    """Times the source, and trains."""
    from common.data.batches import iterate, training_source
    from common.data.folder import load_dataset
    from common.data.view import View
    from launch.bench.short_runs import open_folder

    with open_folder(flags.data, flags.preset) as path:
        dataset = load_dataset(path)
        start = time.perf_counter()
        view = View(
            task=flags.task,
            rec_length=flags.history,
            search_length=flags.history,
            negatives=flags.negatives,
        )
        # An epoch has at least one step: enough for the warm-up and all blocks.
        epochs = (flags.blocks + 1) * flags.batches
        source = training_source(dataset, view, flags.batch, seed=0, epochs=epochs)
        seconds = time.perf_counter() - start
        rates = {
            name: summarize(_time_blocks(batches, flags.blocks, flags.batches))
            for name, batches in (("source", iter(source)), ("grain", iterate(source)))
        }
        trainer = _train_an_epoch(flags, dataset) if flags.train else None
    return {
        "dataset": dataset.name,
        "rows": source.n_rows,
        "batches_per_block": flags.batches,
        "open_seconds": seconds,
        "examples_per_second": rates,
        "trainer": trainer,
        "summary": {f"{name} examples/s": rate["median"] for name, rate in rates.items()}
        | ({"share of the step time waiting": trainer["wait_share"]} if trainer else {}),
    }


def tell(report: Report) -> None:
    """Prints a report."""
    print(
        f"data: {report['dataset']}, {report['rows']:,} {report['task']} targets, history "
        f"{report['history']} + {report['history']}, {report['negatives']} negatives, batch "
        f"{report['batch']}; timeline and source made in {report['open_seconds']:.2f} s"
    )
    for name, rate in report["examples_per_second"].items():
        print(
            f"{name + ':':8}{rate['median']:>12,.0f} examples/s, "
            f"min {rate['min']:,.0f}, max {rate['max']:,.0f} "
            f"({report['blocks']} blocks of {report['batches_per_block']} batches)"
        )
    if report["trainer"]:
        rate, share = report["trainer"]["examples_per_second"], report["trainer"]["wait_share"]
        print(f"trainer: {rate:>11,.0f} examples/s (LCR), {share:.2%} of its time waiting for data")


SUBJECT = Subject(str(__doc__), lambda: (Flags(),), measure, tell, ("--blocks=5", "--batches=50"))


def _time_blocks(batches: Iterator[Batch], blocks: int, size: int) -> list[float]:
    """Examples a second of each timed block; pads do not count."""
    rates = []
    for block in range(blocks + 1):
        examples, start = 0, time.perf_counter()
        for _ in range(size):
            examples += int(next(batches)["valid"].sum())
        if block:  # the first one warms up
            rates.append(examples / (time.perf_counter() - start))
    return rates


def _train_an_epoch(flags: Flags, dataset: Dataset) -> dict[str, float]:
    """Examples a second of LCR's trainer, and the share of the step time that it waits for data."""
    from common.runs.methods import settle
    from launch.bench.short_runs import LastStage
    from lcr_jax.configs import demo

    config = demo.get_config()
    config.data.rec_length = config.data.search_length = flags.history
    config.train.batch_size = flags.batch
    config.resident = "off"  # or there would be nothing to wait for
    result = LastStage(settle(config), dataset, steps=0).train()
    return {"examples_per_second": result.examples_per_second, "wait_share": result.wait_share}
