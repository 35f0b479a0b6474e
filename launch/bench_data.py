"""Examples a second of the batch source, and how long a trainer waits for it.

    python -m launch.bench data [--data=DIR | --preset=demo] [--history=30] [--out=FILE.json]

Without --data a synthetic dataset is made in a temporary folder. Prints the median, the smallest
and the largest of several timed blocks of batches, after one block of warm-up: the source alone,
and read ahead by grain. Then trains LCR for an epoch on the same batches (--notrain leaves it out)
and prints the share of the step time that it spends waiting for the next batch.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from absl import flags

from launch.bench_steps import (
    define_counts,
    describe_software,
    measure_memory,
    print_memory,
    run_bench,
    summarize,
)
from launch.command import parse_flags

if TYPE_CHECKING:
    from common.data.batches import Batch, BatchSource
    from common.data.dataset import Dataset
    from common.data.mixed import MixedSource

SMALL = ("--blocks=5", "--batches=50")  # of `launch.bench --all`
_LEAST_BLOCKS = 5


def run(argv: Sequence[str]) -> None:
    """Measures and prints. Raises InputError for bad flags or a bad folder."""
    values = flags.FlagValues()
    flags.DEFINE_string("data", None, "dataset folder", flag_values=values)
    flags.DEFINE_string("preset", "demo", "synthetic preset, without --data", flag_values=values)
    flags.DEFINE_enum("task", "rec", ["rec", "search"], "which targets", flag_values=values)
    define_counts(values, (
        ("history", 30, 0, "rec events, and searches, of a history"),
        ("negatives", 4, 0, "negatives of a row"),
        ("batch", 1024, 1, "rows of a batch"),
        ("blocks", 7, _LEAST_BLOCKS, "timed blocks"),
        ("batches", 200, 1, "batches of a block"),
    ))  # fmt: skip
    flags.DEFINE_bool("train", True, "measure a trainer's waiting too", flag_values=values)
    parse_flags(values, argv, str(__doc__))
    run_bench(lambda: _measure(values), _print_report, values.out)


def _measure(values: flags.FlagValues) -> dict[str, Any]:
    with open_folder(values.data, values.preset) as path:
        return _measure_folder(values, path)


@contextmanager
def open_folder(data: str | None, preset: str) -> Iterator[Path]:
    """The dataset folder that is given, or one of a synthetic preset, for as long as it is open."""
    if data is not None:
        yield Path(data)
        return
    from common.data.folder import PrepareSettings, write_dataset  # --help need not wait for these
    from common.data.readers.synthetic import generate

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / preset
        # Training reads no candidate lists, so the shortest will do.
        write_dataset(path, generate(preset, seed=0), PrepareSettings(negatives=1))
        yield path


def _measure_folder(values: flags.FlagValues, path: Path) -> dict[str, Any]:
    from common.data.batches import iterate
    from common.data.folder import load_dataset

    dataset = load_dataset(path)
    start = time.perf_counter()
    source = _open_source(values, dataset)
    seconds = time.perf_counter() - start
    rates = {
        name: summarize(_time_blocks(batches, values.blocks, values.batches))
        for name, batches in (("source", iter(source)), ("grain", iterate(source)))
    }
    trainer = None
    if values.train:
        rate, share = _train_an_epoch(values, dataset)
        trainer = {"examples_per_second": rate, "wait_share": share}
    return {
        "dataset": dataset.name,
        "task": values.task,
        "rows": source.n_rows,
        "history": values.history,
        "negatives": values.negatives,
        "batch": values.batch,
        "blocks": values.blocks,
        "batches_per_block": values.batches,
        "open_seconds": seconds,
        "examples_per_second": rates,
        "trainer": trainer,
        **describe_software(),
        "peak_memory": measure_memory(),
        "summary": {f"{name} examples/s": rate["median"] for name, rate in rates.items()}
        | ({"share of the step time waiting": trainer["wait_share"]} if trainer else {}),
    }


def _print_report(report: dict[str, Any]) -> None:
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
    print_memory(report)


def _open_source(values: flags.FlagValues, dataset: Dataset) -> BatchSource | MixedSource:
    """A training source with enough epochs for the warm-up and all blocks."""
    from common.data.batches import training_source
    from common.data.view import View

    view = View(
        task=values.task,
        rec_length=values.history,
        search_length=values.history,
        negatives=values.negatives,
    )
    steps = (values.blocks + 1) * values.batches
    once = training_source(dataset, view, values.batch, seed=0, epochs=1)
    epochs = -(-steps // once.steps_per_epoch)
    return training_source(dataset, view, values.batch, seed=0, epochs=epochs)


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


def _train_an_epoch(values: flags.FlagValues, dataset: Dataset) -> tuple[float, float]:
    """Examples a second of LCR's trainer, and the share of the step time that it waits for data."""
    import jax

    from common.data.batches import training_source
    from common.runs.tasks import build_task
    from common.training.loop import train
    from common.training.mesh import make_mesh
    from common.training.settings import TrainSettings
    from lcr_jax.configs import demo

    config = demo.get_config()
    config.data.rec_length = config.data.search_length = values.history
    config.train.batch_size = values.batch
    task = build_task(config, dataset)
    with tempfile.TemporaryDirectory() as folder:
        result = train(
            task,
            lambda stage: training_source(dataset, stage.view, stage.batch_size, 0, 1),
            lambda stage: lambda params, constants: {config.train.metric: 0.0},  # not judged here
            TrainSettings(tensorboard=False, show_progress=False),
            Path(folder),
            0,
            make_mesh(jax.devices()[:1]),
        )
    return result.examples_per_second, result.wait_share
