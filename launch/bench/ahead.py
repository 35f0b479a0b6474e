"""Programs compiled ahead, for a card or a slice that is not there: on any CPU, without a driver.

The compiler is that of the target, which its wheel brings. For a GPU nothing is tuned, as there is
nothing to time on: compiling on the card takes longer, and its choice of kernels may differ.
"""

from __future__ import annotations

import importlib.util
import os
import re
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from common.data.view import HOST_FIELDS
from common.errors import InputError
from common.runs.workload import SCORE
from common.training.mesh import full_sharding, read_mesh, row_sharding
from common.training.optimizers import hide_trained, make_updater
from common.training.sharding import place_params
from common.training.step import describe_state, make_init, make_step
from common.training.task import Batch, Constants, Params, Stage, Task
from launch.bench.compiled_text import count_compiled

INIT = "init"  # the program of the first parameters
# What the compiler asks of a card. Source: the description that JAX prints on an H100.
_H100 = """gpu_device_info {
  threads_per_block_limit: 1024 threads_per_warp: 32 shared_memory_per_block: 49152
  shared_memory_per_core: 233472 threads_per_core_limit: 2048 core_count: 132 fpus_per_core: 128
  block_dim_limit_x: 2147483647 block_dim_limit_y: 65535 block_dim_limit_z: 65535
  memory_bandwidth: 3352320000000 l2_cache_size: 52428800 clock_rate_ghz: 1.98
  device_memory_size: 84942979072 shared_memory_per_block_optin: 232448
  cuda_compute_capability { major: 9 minor: 0 }
  registers_per_core_limit: 65536 registers_per_block_limit: 65536
}
platform_name: "CUDA"
dnn_version_info { major: 9 minor: 10 patch: 0 }
device_description_str: "NVIDIA H100 80GB HBM3"
"""
# libtpu asks the machine what slice it is on, and lets one process alone have it; here is none.
_LIBTPU = {
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_WORKER_HOSTNAMES": "localhost",
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
}
Open = Callable[[], tuple[Any, tuple[Any, ...]]]  # -> a jitted function and its arguments' shapes
_TARGETS = "cpu, h100, or a TPU slice such as v5e:4x4"


def find_platform_of(target: str) -> str:
    """As of `common.platform`. target: "cpu", "h100", or a TPU slice such as "v5e:4x4" """
    return {"cpu": "cpu", "h100": "gpu"}.get(target, "tpu")


def open_mesh(target: str, text: str = "", *, flag: str) -> Mesh:
    """A mesh over the devices of a target. text: as of `read_mesh`; flag: that names the target

    Raises InputError where there is no such target, its compiler is not installed, or the mesh
    leaves devices out.
    """
    jax.config.update("jax_platforms", "cpu")  # whatever else is here: nothing runs on it
    devices = _find_devices(target, flag)
    mesh = read_mesh(text, devices, "--mesh")
    if mesh.size < len(devices):
        raise InputError(
            f"--mesh={text}: has {mesh.size} of the {len(devices)} devices of {target}; use all"
        )
    return mesh


def _find_devices(target: str, flag: str) -> list[Any]:
    from jax.experimental.topologies import get_topology_desc

    if target == "cpu":
        return jax.devices()[:1]
    if target != "h100" and not re.fullmatch(r"\w+:\d+(x\d+)+", target):
        raise InputError(f"{flag}={target}: no such target; use {_TARGETS}")
    os.environ |= _LIBTPU
    if find_platform_of(target) == "gpu":
        _need(
            ("jax_plugins.xla_cuda13", "jax_plugins.xla_cuda12"),
            f"{flag}={target}: the CUDA compiler is missing; install jax-cuda13-plugin and "
            f"jax-cuda13-pjrt, of jax's extra cuda13, both =={jax.__version__}",
        )
        open_ = partial(get_topology_desc, "", "cuda", target_config=_H100, topology="1x1x1")
    else:
        _need(
            ("libtpu",),
            f"{flag}={target}: the TPU compiler is missing; install libtpu, of the extra pod: "
            'pip install "snr-jax[pod]"',
        )
        open_ = partial(get_topology_desc, target, "tpu")
    try:
        return list(open_().devices)
    except (ValueError, RuntimeError, NotImplementedError) as error:
        raise InputError(
            f"{flag}={target}: cannot be had ({str(error).splitlines()[0]}); use {_TARGETS}"
        ) from error


def _need(modules: tuple[str, ...], message: str) -> None:
    for module in modules:
        try:
            if importlib.util.find_spec(module) is not None:
                return
        except ModuleNotFoundError:  # the package that it would be in
            continue
    raise InputError(message)


def list_programs(
    task: Task, batches: Mapping[str, Mapping[str, np.ndarray]], mesh: Mesh, copies: int = 1
) -> dict[str, Open]:
    """The programs by name: `INIT`, the step of each stage that has a batch, and `SCORE`.

    batches: of one device, by the name of a stage, and `SCORE`
    copies:  of the rows, as many as devices share them
    """
    first = {name: shape_of(array) for name, array in drop_host(next(iter(batches.values())))}
    key = jax.random.key(0)
    params, constants = describe_model(task, first, mesh)
    placed = {name: spread_rows(batch, mesh, copies) for name, batch in batches.items()}

    def open_init() -> tuple[Any, tuple[Any, ...]]:
        make, arguments = make_init(task, key, first, mesh)
        return make, place_full(arguments, mesh)

    programs: dict[str, Open] = {INIT: open_init}
    for stage in task.stages:
        own = constants
        if stage.prepare is not None:
            own = jax.eval_shape(stage.prepare, hide_trained(stage, params), constants)
        own = place_full(own, mesh)
        if stage.name in placed:
            programs[stage.name] = partial(open_step, stage, params, own, placed[stage.name], mesh)
    if SCORE in placed:  # with the constants of the last stage
        programs[SCORE] = lambda: (jax.jit(task.score), (params, own, placed[SCORE]))
    return programs


def describe_model(task: Task, batch: Batch, mesh: Mesh) -> tuple[Params, Constants]:
    """Shapes of parameters, as they lie on the mesh, and of constants."""
    params, constants = jax.eval_shape(task.init, jax.random.key(0), batch)
    places = place_params(params, mesh, task.split_tables)
    return jax.tree.map(shape_of, params, places), constants


def open_step(
    stage: Stage, params: Params, constants: Constants, batch: Batch, mesh: Mesh
) -> tuple[Any, tuple[Any, ...]]:
    """The step of a stage, as the trainer has it, and the shapes of its arguments."""
    updater = make_updater(stage, params, 1000)
    state = describe_state(params, updater, mesh, stage.keeps_start)
    key, scale = place_full((jax.random.key(0), jnp.float32(1.0)), mesh)
    return make_step(stage, updater, mesh, state), (state, constants, batch, key, scale)


def drop_host(batch: Mapping[str, Any]) -> list[tuple[str, Any]]:
    return [(name, array) for name, array in batch.items() if name not in HOST_FIELDS]


def spread_rows(batch: Mapping[str, np.ndarray], mesh: Mesh, copies: int) -> Batch:
    """Shapes of a batch with `copies` times the rows, split over the mesh."""
    rows: Any = {
        name: jax.ShapeDtypeStruct(
            (copies * len(array), *array.shape[1:]), array.dtype, sharding=row_sharding(mesh)
        )
        for name, array in drop_host(batch)
    }
    return rows


def place_full(tree: Any, mesh: Mesh) -> Any:
    """Shapes of a tree of arrays, with a full copy on every device."""
    return jax.tree.map(partial(shape_of, sharding=full_sharding(mesh)), tree)


def shape_of(array: Any, sharding: Any = None) -> Any:
    return jax.ShapeDtypeStruct(array.shape, array.dtype, sharding=sharding)


def compile_program(open_program: Open) -> tuple[dict[str, Any], str]:
    """Figures of compiling a program, and the text of what has come out.

    operations and dots are those of StableHLO, before any optimisation; memory is of one device
    """
    start = time.perf_counter()
    function, arguments = open_program()
    traced = function.trace(*arguments)
    after_trace = time.perf_counter()
    lowered = traced.lower()
    after_lower = time.perf_counter()
    source = lowered.as_text()
    before = time.perf_counter()
    program = lowered.compile()
    seconds = time.perf_counter() - before
    text, memory = program.as_text(), program.memory_analysis()
    figures = {
        "operations": sum(" = " in line for line in source.splitlines()),
        "dots": source.count("dot_general"),
        **count_compiled(text),
        "trace_seconds": after_trace - start,
        "lower_seconds": after_lower - after_trace,
        "compile_seconds": seconds,
        **{
            f"{name}_bytes": int(getattr(memory, f"{field}_size_in_bytes", 0))
            for name, field in (
                ("temporary", "temp"),
                ("argument", "argument"),
                ("code", "generated_code"),
            )
        },
    }
    return figures, text
