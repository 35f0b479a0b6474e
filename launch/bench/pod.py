"""The real training steps, compiled for a TPU slice that is not there: memory and exchanges.

    python -m launch.bench pod --config=FILE --topology=v5e:4x4 [--mesh=data:4,model:4]
                               [--rows_per_chip=1024] [--keys=t5.size=base,t5.remat=true]
                               [--data=DIR | --items=20000] [--out=FILE.json]

Compiles the step of each stage of a config, with batches from the host, for all chips of the slice,
on any CPU; needs the extra `pod`. Without --data a synthetic dataset is made in a temporary folder.
Tells what a chip holds (arguments, temporary memory, code) and every exchange between chips:
all-gathers, all-reduces and the like, with the bytes that a chip has afterwards and the operation
that they come from. A row is one of config.train.batch_size. Nothing tells how fast it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from common.errors import InputError
from common.printable import cut
from common.report.tables import format_markdown
from common.settings.fields import setting
from launch.bench.compiling import format_figures
from launch.bench.subjects import Report, Subject

_SHOWN = 20  # kinds of exchanges that are printed; --out has all


@dataclass(frozen=True)
class Flags:
    """What is compiled, and for what."""

    config: str = setting("lcr_jax/configs/base.py", "what is trained")
    keys: str = setting("", "keys of the config to change, KEY=VALUE with commas between them")
    topology: str = setting("v5e:4x4", "TPU slice")
    mesh: str = setting("", "as config.mesh; empty = all chips on data")
    rows_per_chip: int = setting(1024, "rows of a batch that a chip has", least=1)
    data: str = setting("", "dataset folder")
    items: int = setting(20_000, "items of the synthetic dataset, without --data", least=2)


def measure(flags: Flags) -> Report:
    """Compiles the steps, one after the other, and prints each as it comes."""
    import jax

    from common.data.folder import load_dataset
    from common.platform import made_for
    from common.runs.config_file import load_config_file
    from common.runs.methods import settle
    from common.runs.run import open_sources
    from common.runs.tasks import build_task
    from common.training.mesh import DATA, make_mesh
    from common.training.sharding import pad_task
    from launch.bench.ahead import compile_program, list_programs, open_mesh
    from launch.bench.compiled_text import list_collectives
    from launch.bench.short_runs import open_folder
    from launch.config import override

    mesh = open_mesh(flags.topology, flags.mesh, flag="--topology")
    config = load_config_file(flags.config)
    for word in filter(None, flags.keys.split(",")):
        key, _, value = word.partition("=")
        override(config, key, value)
    settings = replace(settle(config), resident="off")
    stages = []
    with open_folder(flags.data, "demo", items=flags.items) as path, made_for("tpu"):
        dataset = load_dataset(path, settings.data.split)
        task = build_task(settings, dataset)
        if not task.stages:
            raise InputError(f"--config={flags.config}: trains nothing; give one with stages")
        open_source, _ = open_sources(settings, task, dataset, make_mesh(jax.devices()[:1]))
        batches = {
            stage.name: open_source(stage._replace(batch_size=flags.rows_per_chip))[0]
            for stage in task.stages
        }
        task = pad_task(task, mesh, next(iter(batches.values())))
        programs = list_programs(task, batches, mesh, copies=mesh.shape[DATA])
        for stage in task.stages:
            figures, text = compile_program(programs[stage.name])
            own = {"name": stage.name, **figures, "collectives": list_collectives(text)}
            print(format_stage(own), flush=True)
            stages.append(own)
    return {
        "chips": mesh.size,
        "axes": dict(mesh.shape),
        "dataset": dataset.name,
        "catalogue": dataset.n_items,
        "stages": stages,
        "summary": {
            f"{stage['name']}, temporary MB a chip": stage["temporary_bytes"] / 1e6
            for stage in stages
        },
    }


def format_stage(stage: Mapping[str, Any]) -> str:
    """A stage: what a chip holds, and a table of the exchanges, the largest first."""
    rows = stage["collectives"]
    lines = [
        format_figures(stage),
        "  a chip holds "
        + ", ".join(
            f"{stage[f'{part}_bytes'] / 1e6:,.1f} MB {part}"
            for part in ("argument", "temporary", "code")
        ),
    ]
    table = [
        [
            row["kind"],
            row["line"] or row["operation"][-60:],
            f"{row['count']}",
            f"{row['bytes']:,}",
            cut(row["shape"], 40),
        ]
        for row in rows[:_SHOWN]
    ]
    if table:
        head = ("exchange", "from", "times", "bytes", "shape")
        lines.append(format_markdown(head, table, aligned=True).rstrip())
    if len(rows) > _SHOWN:
        lines.append(f"  and {len(rows) - _SHOWN} more kinds; --out has all")
    return "\n".join(lines)


def tell(report: Report) -> None:
    """Prints the end of a report: its stages were printed as they came."""
    axes = ", ".join(f"{name}:{size}" for name, size in report["axes"].items())
    print(
        f"compiled for {report['topology']} ({axes}), {report['rows_per_chip']:,} rows a chip, "
        f"{report['dataset']} with {report['catalogue']:,} items"
    )


SUBJECT = Subject(str(__doc__), lambda: (Flags(),), measure, tell, None)
