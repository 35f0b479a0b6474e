"""What each lever of the trainer is worth, on and off, in turns.

    python -m launch.bench levers [--config=FILE] [--batch=64] [--many=8] [--parts=2]
                                  [--data=DIR | --preset=demo] [--out=FILE.json]

Trains the last stage of a config on real batches, for a few steps at a time and each time from the
start: with batches from the host one step at a time, and with one key of the config changed. For a
GenSR config bfloat16 and rematerialisation too. The trainer's own loop does it and times it, its
first call left out, which compiles. Prints examples a second, the speed of each lever over that of
the plain way, block by block (above 1: the lever is faster), the share of the time spent waiting
for data, and the memory that a step takes beside its arguments. Compiling is timed apart, without
and with what the persistent cache holds.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from common.errors import InputError
from common.settings.fields import setting
from launch.bench.subjects import Report, Subject
from launch.bench.summaries import divide_blocks, say_spread, summarize

if TYPE_CHECKING:
    from common.training.loop import TrainResult

PLAIN = "plain"


@dataclass(frozen=True)
class Flags:
    """What is trained, and how often."""

    config: str = setting("lcr_jax/configs/demo.py", "what is trained")
    data: str = setting("", "dataset folder")
    preset: str = setting("demo", "synthetic preset, without --data")
    batch: int = setting(64, "rows of a batch", least=2)
    many: int = setting(8, "steps of one call", least=2)
    parts: int = setting(2, "parts of a batch", least=2)
    blocks: int = setting(5, "trainings of each", least=1)
    steps: int = setting(48, "timed steps of a training, rounded up to whole calls", least=1)


def measure(flags: Flags) -> Report:
    """Trains with each lever in turns."""
    import jax

    from common.data.folder import load_dataset
    from common.runs.config_file import load_config_file
    from common.runs.methods import settle
    from launch.bench.short_runs import LastStage, open_folder

    steps = -(-flags.steps // flags.many) * flags.many
    config = load_config_file(flags.config)
    if "train" not in config:
        raise InputError(
            f"--config={flags.config}: trains nothing; give a config with a train group"
        )
    with open_folder(flags.data, flags.preset) as path, empty_cache():
        dataset = load_dataset(path, config.data.split)
        base = {"train.batch_size": flags.batch, "steps_per_dispatch": 1, "accumulate": 1,
                "resident": "off"}  # fmt: skip

        def open_lane(changes: dict[str, Any]) -> LastStage:
            own = config.copy_and_resolve_references()
            own.update_from_flattened_dict(base | changes)
            settings = settle(own)
            # The loop does not time its first call.
            return LastStage(settings, dataset, steps + settings.steps_per_dispatch)

        plain = open_lane({})
        cold = plain.compile().compile_seconds
        jax.clear_caches()
        levers = name_levers(config, flags, plain.stage.view.packed)
        lanes = {PLAIN: plain} | {name: open_lane(keys) for name, keys in levers.items()}
        programs = {name: lane.compile() for name, lane in lanes.items()}
        results: dict[str, list[TrainResult]] = {name: [] for name in lanes}
        for _ in range(flags.blocks):
            for name, lane in lanes.items():
                results[name].append(lane.train())
    rates = {name: [each.examples_per_second for each in own] for name, own in results.items()}
    figures: dict[str, dict[str, Any]] = {
        name: {
            "examples_per_second": summarize(rates[name]),
            "ms_per_step": summarize([1e3 * each.train_seconds / steps for each in own]),
            "wait_share": summarize([each.wait_share for each in own]),
            "temporary_bytes": programs[name].temporary_bytes,
            "speed_over_plain": divide_blocks(rates[name], rates[PLAIN]),
        }
        for name, own in results.items()
    }
    return {
        "stage": plain.stage.name,
        "dataset": dataset.name,
        "steps_per_block": steps,
        "compile_seconds": {"cold": cold, "cached": programs[PLAIN].compile_seconds},
        "levers": figures,
        "summary": {"plain examples/s": figures[PLAIN]["examples_per_second"]["median"]}
        | {
            f"{name}, speed over plain": own["speed_over_plain"]["median"]
            for name, own in figures.items()
            if name != PLAIN
        },
    }


def name_levers(config: Any, flags: Flags, packed: bool) -> dict[str, dict[str, Any]]:
    """Lever -> the keys of the config that turn it on. packed: of the stage's view"""
    many, parts = {"steps_per_dispatch": flags.many}, {"accumulate": flags.parts}
    levers: dict[str, dict[str, Any]] = {f"{flags.many} steps a call": many}
    if not packed:  # the host makes packed sequences, and they cannot be cut
        resident = {"resident": "on"}
        levers["resident"] = resident
        levers[f"resident, {flags.many} steps a call"] = resident | many
        levers[f"{flags.parts} parts"] = parts
    if "t5" in config:
        levers["bfloat16"] = {"t5.dtype": "bfloat16"}
        levers["rematerialised"] = {"t5.remat": True}
    return levers


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


def tell(report: Report) -> None:
    """Prints a report."""
    seconds = report["compile_seconds"]
    print(
        f"levers: {report['config']}, stage {report['stage']}, {report['dataset']}, batch "
        f"{report['batch']}; {report['blocks']} trainings of {report['steps_per_block']} steps"
    )
    print(f"compiled in {seconds['cold']:.1f} s, from the cache in {seconds['cached']:.1f} s")
    width = max(len(name) for name in report["levers"])
    for name, lever in report["levers"].items():
        rate, ratio = lever["examples_per_second"], lever["speed_over_plain"]
        print(
            f"{name:{width}}  {rate['median']:>9,.0f} examples/s  {ratio['median']:.2f} "
            f"{say_spread(ratio, '.2f')}  waits {lever['wait_share']['median']:.1%}  "
            f"{lever['temporary_bytes'] / 1e6:,.1f} MB a step"
        )


SUBJECT = Subject(str(__doc__), lambda: (Flags(),), measure, tell, ("--blocks=3", "--steps=16"))
