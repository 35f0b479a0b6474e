"""What each lever of the trainer is worth, on and off, in turns.

    python -m launch.bench levers [--config=FILE] [--batch=64] [--many=8] [--parts=2]
                                  [--data=DIR | --preset=demo] [--out=FILE.json]

Trains the last stage of a config on real batches as the trainer does it, without evaluating and
saving: batches from the host one step at a time, and the same with one thing changed. For a GenSR
config bfloat16 and rematerialisation too. Prints examples a second, the time of the plain way over
that of each lever, block by block (above 1: the lever is faster), the share of the time spent
waiting for data, and the memory that a step takes beside its arguments. Compiling is timed apart,
without and with what the persistent cache holds.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from absl import flags

from launch.bench_data import open_folder
from launch.bench_steps import (
    define_counts,
    describe_software,
    divide_blocks,
    measure_memory,
    print_memory,
    run_bench,
    summarize,
    time_in_turns,
)
from launch.command import parse_flags

SMALL = ("--blocks=5", "--steps=16")  # of `launch.bench --all`
_LEAST_BLOCKS = 5
PLAIN = "plain"


def run(argv: Sequence[str]) -> None:
    """Measures, prints, and writes --out. Raises InputError for bad flags or a bad folder."""
    values = flags.FlagValues()
    flags.DEFINE_string("config", "lcr_jax/configs/demo.py", "what is trained", flag_values=values)
    flags.DEFINE_string("data", None, "dataset folder", flag_values=values)
    flags.DEFINE_string("preset", "demo", "synthetic preset, without --data", flag_values=values)
    define_counts(values, (
        ("batch", 64, 2, "rows of a batch"),
        ("many", 8, 2, "steps of one call"),
        ("parts", 2, 2, "parts of a batch"),
        ("blocks", 7, _LEAST_BLOCKS, "timed blocks of each"),
        ("steps", 48, 1, "steps of a block, rounded up to whole calls"),
    ))  # fmt: skip
    parse_flags(values, argv, str(__doc__))
    run_bench(lambda: _measure(values), _print_report, values.out)


def _measure(values: flags.FlagValues) -> dict[str, Any]:
    with open_folder(values.data, values.preset) as path, empty_cache():
        return _measure_folder(values, path)


@contextmanager
def empty_cache() -> Iterator[None]:
    """Inside the block compiled programs go to a cache of its own, which is empty at first."""
    import jax
    from jax.experimental.compilation_cache import compilation_cache

    folder_key, least_key = (
        "jax_compilation_cache_dir", "jax_persistent_cache_min_compile_time_secs"
    )  # fmt: skip

    def use(folder: str | None, least_seconds: float) -> None:
        jax.config.update(folder_key, folder)
        jax.config.update(least_key, least_seconds)
        compilation_cache.reset_cache()  # or JAX goes on with the folder that it has opened

    before = (getattr(jax.config, folder_key), getattr(jax.config, least_key))
    with tempfile.TemporaryDirectory() as folder:
        use(folder, 0.0)
        try:
            yield
        finally:
            use(*before)


def _measure_folder(values: flags.FlagValues, path: Path) -> dict[str, Any]:
    import jax

    from common.data.folder import load_dataset
    from common.runs.config_file import load_config_file

    config = load_config_file(values.config)
    dataset = load_dataset(path, config.data.split)
    config.train.batch_size = values.batch
    many, parts = values.many, values.parts
    steps = -(-values.steps // many) * many
    total = (values.blocks + 1) * steps

    def open_lane(changes: dict[str, Any], **levers: Any) -> Lane:
        own = config.copy_and_resolve_references()
        own.update_from_flattened_dict(changes)
        return Lane(own, dataset, total, **levers)

    lanes = {PLAIN: open_lane({})}
    cold = lanes[PLAIN].compile_seconds
    jax.clear_caches()
    lanes[PLAIN] = open_lane({})
    lanes["metrics read at once"] = open_lane({}, late=False)
    lanes[f"{many} steps a call"] = open_lane({}, many=many)
    if not lanes[PLAIN].stage.view.packed:
        lanes["resident"] = open_lane({}, resident=True)
        lanes[f"resident, {many} steps a call"] = open_lane({}, resident=True, many=many)
        lanes[f"{parts} parts"] = open_lane({}, parts=parts)
    if "t5" in config:
        lanes["bfloat16"] = open_lane({"t5.dtype": "bfloat16"})
        lanes["rematerialised"] = open_lane({"t5.remat": True})
    time_in_turns(lanes, values.blocks, steps)
    ratios = {name: divide_blocks(lanes[PLAIN], lane) for name, lane in lanes.items()}
    return {
        "config": values.config,
        "stage": lanes[PLAIN].stage.name,
        "dataset": dataset.name,
        "batch": values.batch,
        "blocks": values.blocks,
        "steps_per_block": steps,
        **describe_software(),
        "compile_seconds": {"cold": cold, "cached": lanes[PLAIN].compile_seconds},
        "levers": {
            name: lane.describe() | {"speed_over_plain": ratios[name]}
            for name, lane in lanes.items()
        },
        "peak_memory": measure_memory(),
        "summary": {"plain examples/s": lanes[PLAIN].examples_per_second["median"]}
        | {f"{name}, speed over plain": ratios[name]["median"] for name in lanes if name != PLAIN},
    }


class Lane:
    """One way to train: a compiled step, its state and its stream of batches."""

    def __init__(
        self,
        config: Any,
        dataset: Any,
        total: int,
        *,
        many: int = 1,
        parts: int = 1,
        resident: bool = False,
        late: bool = True,
    ) -> None:
        """total: steps that will be run"""
        import jax
        import numpy as np

        from common.data.batches import iterate
        from common.runs.run import open_sources
        from common.runs.tasks import build_task, take_batch
        from common.training.mesh import copy_batch, make_mesh, put_batches, put_full
        from common.training.optimizers import make_updater
        from common.training.resident import put_resident
        from common.training.step import (
            init_params,
            init_state,
            make_step,
            place_key,
            prepare_constants,
        )

        self._mesh = mesh = make_mesh(jax.devices()[:1])
        task = build_task(config, dataset)
        self.stage = stage = task.stages[-1]
        config.resident = "on" if resident else "off"
        open_source, _ = open_sources(config, task._replace(stages=(stage,)), dataset, mesh)
        epochs = -(-total // open_source(stage).steps_per_epoch)
        source: Any = open_source(stage._replace(epochs=epochs))
        batch = copy_batch(mesh, take_batch(task, dataset))
        params, constants = init_params(task, place_key(0, "init", mesh), batch, mesh)
        constants = prepare_constants(stage, params, constants, mesh)
        if kept := put_resident(stage.view, source.resident, mesh):
            stage, constants = kept.gather_first(stage), kept.add_columns(constants)
        updater = make_updater(stage, params, total)
        self._state = init_state(params, updater, mesh, stage.keeps_start)
        self._rest = (place_key(0, stage.name, mesh), put_full(mesh, np.float32(1.0)))
        self._constants, self._many, self._late = constants, many, late
        self._batches: Iterator[Any] = iterate(source)
        step: Any = make_step(stage, updater, mesh, self._state, many, parts)
        first = put_batches(mesh, [source[0]] * many)
        start = time.perf_counter()
        self._step = step.lower(self._state, constants, first, *self._rest).compile()
        self.compile_seconds = time.perf_counter() - start
        self._rows = stage.batch_size
        self._waited: list[float] = []
        self.milliseconds: list[float] = []

    def run_block(self, steps: int) -> None:
        """Trains some steps as the trainer's loop does."""
        import jax

        from common.training.mesh import put_batches

        held, waited, start = None, 0.0, time.perf_counter()
        for _ in range(steps // self._many):
            asked = time.perf_counter()
            host = [next(self._batches) for _ in range(self._many)]
            waited += time.perf_counter() - asked
            batch = put_batches(self._mesh, host)
            self._state, metrics = self._step(self._state, self._constants, batch, *self._rest)
            if held is not None and self._late:
                jax.device_get(held)
            held = metrics
            if not self._late:
                jax.device_get(held)
        jax.device_get(held)
        seconds = time.perf_counter() - start
        self.milliseconds.append(1e3 * seconds / steps)
        self._waited.append(waited / seconds)

    @property
    def examples_per_second(self) -> dict[str, float]:
        return summarize([1e3 * self._rows / each for each in self.milliseconds])

    def describe(self) -> dict[str, Any]:
        """Figures of the blocks so far."""
        memory = self._step.memory_analysis()
        return {
            "examples_per_second": self.examples_per_second,
            "ms_per_step": summarize(self.milliseconds),
            # The first block warmed up and is no longer among the times.
            "wait_share": summarize(self._waited[-len(self.milliseconds) :]),
            "temporary_bytes": int(getattr(memory, "temp_size_in_bytes", 0)),
        }


def _print_report(report: dict[str, Any]) -> None:
    device, seconds = report["device"], report["compile_seconds"]
    print(f"device: {device['kind']} ({device['platform']}); {report['config']}, stage "
          f"{report['stage']}, {report['dataset']}, batch {report['batch']}; {report['blocks']} "
          f"blocks of {report['steps_per_block']} steps")  # fmt: skip
    print(f"compiled in {seconds['cold']:.1f} s, from the cache in {seconds['cached']:.1f} s")
    width = max(len(name) for name in report["levers"])
    for name, lever in report["levers"].items():
        rate, ratio = lever["examples_per_second"], lever["speed_over_plain"]
        print(
            f"{name:{width}}  {rate['median']:>9,.0f} examples/s  {ratio['median']:.2f} "
            f"(min {ratio['min']:.2f}, max {ratio['max']:.2f})  waits "
            f"{lever['wait_share']['median']:.1%}  {lever['temporary_bytes'] / 1e6:,.1f} MB a step"
        )
    print_memory(report)
