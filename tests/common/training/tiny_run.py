"""A tiny task and its data, for the trainer's tests; as a script, one training run of it.

python tiny_run.py WORKDIR [--devices N] [--signal NAME --at STEP]

prints the result as JSON. With --signal the run sends itself that signal before step STEP.
"""

import argparse
import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from common.data.view import View
from common.training.loop import TrainResult, train
from common.training.mesh import make_mesh
from common.training.settings import TrainSettings
from common.training.task import Optimizer, Stage, Stopping, Task

USERS, WIDTH, ROWS, BATCH = 16, 4, 45, 8  # 6 steps per epoch, the last batch has 3 pads
STOPPING = Stopping(metric="fit", patience=0)
QUIET = TrainSettings(log_every_steps=1, show_progress=False, tensorboard=False)


class TinySource:
    """Rows (user, value), shuffled by epoch; the last batch of an epoch is padded."""

    steps_per_epoch = -(-ROWS // BATCH)
    n_rows = ROWS
    resident = None

    def __init__(self, stage: Stage, poison: int | None = None) -> None:
        self.epochs, self.poison = stage.epochs, poison  # step whose values are not numbers

    def __len__(self) -> int:
        return self.epochs * self.steps_per_epoch

    def __getitem__(self, step: int) -> dict[str, np.ndarray]:
        epoch, number = divmod(step, self.steps_per_epoch)
        rows = np.random.default_rng((7, epoch)).permutation(ROWS)[number * BATCH :][:BATCH]
        pads = BATCH - len(rows)
        value = np.sin(rows).astype(np.float32)
        if step == self.poison:
            value[:] = np.nan
        return {
            "valid": np.pad(np.ones(len(rows), np.uint8), (0, pads)),
            "user": np.pad((rows % USERS).astype(np.int32), (0, pads)),
            "value": np.pad(value, (0, pads)),
            "row": np.pad(rows, (0, pads)),  # stays on the host
        }

    def position(self, step: int) -> dict[str, int]:
        return {
            "epoch": step // self.steps_per_epoch,
            "next_batch": step % self.steps_per_epoch,
        }


def iterate(source: TinySource, start: int = 0) -> Iterator[dict[str, np.ndarray]]:
    return (source[step] for step in range(start, len(source)))


def init(key: jax.Array, batch: dict[str, jax.Array]) -> tuple[Any, Any]:
    first, second = jax.random.split(key)
    params = {
        "embed": {"table": 0.1 * jax.random.uniform(first, (USERS, WIDTH))},
        "head": {"kernel": jax.random.uniform(second, (WIDTH, 1)), "bias": jnp.zeros((1,))},
    }
    return params, {"scale": jnp.arange(1.0, WIDTH + 1)}


def predict(params: Any, constants: Any, user: jax.Array) -> jax.Array:
    hidden = params["embed"]["table"][user] * constants["scale"]
    return (hidden @ params["head"]["kernel"] + params["head"]["bias"])[:, 0]


def loss(params: Any, constants: Any, batch: Any, key: jax.Array) -> tuple[jax.Array, Any]:
    noise = 0.1 * jax.random.uniform(key, batch["value"].shape)  # stands for dropout
    error = jnp.square(predict(params, constants, batch["user"]) + noise - batch["value"])
    valid = batch["valid"].astype(jnp.float32)
    mean = jnp.sum(error * valid) / jnp.sum(valid)
    return mean, {"error": mean}


def validate(params: Any, constants: Any) -> dict[str, float]:
    rows = jnp.arange(ROWS)
    error = predict(params, constants, rows % USERS) - jnp.sin(rows.astype(jnp.float32))
    return {"fit": float(-jnp.mean(jnp.square(error))), "bias": float(params["head"]["bias"][0])}


def make_stage(**changes: Any) -> Stage:
    stage = Stage(
        name="fit",
        loss=loss,
        view=View(),
        batch_size=BATCH,
        epochs=4,
        optimizer=Optimizer(learning_rate=0.05, schedule="cosine", warmup_steps=3, clip_norm=5.0),
        stopping=STOPPING,
    )
    return stage._replace(**changes)


def make_task(*stages: Stage) -> Task:
    return Task(
        name="tiny",
        tasks=("rec",),
        view=View(),
        init=init,
        stages=stages or (make_stage(),),
        score=lambda params, constants, batch: predict(params, constants, batch["user"])[:, None],
    )


def run(
    workdir: Path, task: Task | None = None, validate: Any = validate, **changes: Any
) -> TrainResult:
    arguments: dict[str, Any] = {
        "open_source": TinySource,
        "open_validator": lambda stage: validate,
        "settings": QUIET,
        "workdir": workdir,
        "seed": 3,
        "iterate": iterate,
    }
    arguments.update(changes)
    if "mesh" not in arguments:
        arguments["mesh"] = make_mesh(jax.devices()[:1])
    return train(task or make_task(), **arguments)


def interrupt(name: str, before: int) -> Any:
    """An `iterate` that sends this process a signal when it is asked for the batch of a step."""

    def iterate_and_interrupt(source: TinySource, start: int) -> Iterator[Any]:
        for step in range(start, len(source)):
            if step == before:
                os.kill(os.getpid(), signal.Signals[name])
            yield source[step]

    return iterate_and_interrupt


def fall(values: list[float]) -> Any:
    """A `validate` that gives these values, one per evaluation."""
    left = iter(values)
    return lambda params, constants: {"fit": next(left)}


def read_lines(workdir: Path, kind: str | None = None) -> list[dict[str, Any]]:
    """The run's metrics.jsonl without what depends on the machine."""
    lines = [json.loads(text) for text in (workdir / "metrics.jsonl").read_text().splitlines()]
    lines = [{key: line[key] for key in line if key != "timing"} for line in lines]
    return [line for line in lines if kind in (None, line["kind"])]


def assert_same(first: Any, second: Any) -> None:
    """Bit for bit."""
    jax.tree.map(np.testing.assert_array_equal, first, second)


def as_json(result: TrainResult) -> dict[str, Any]:
    return {
        "params": jax.tree.map(lambda array: np.asarray(array).tolist(), result.params),
        "global_step": result.global_step,
        "interrupted": result.interrupted,
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("workdir", type=Path)
    parser.add_argument("--devices", type=int, default=1)
    parser.add_argument("--signal", default=None)
    parser.add_argument("--at", type=int, default=0)
    options = parser.parse_args()
    jax.config.update("jax_platforms", "cpu")
    jax.config.update("jax_num_cpu_devices", options.devices)
    how = interrupt(options.signal, options.at) if options.signal else iterate
    result = run(options.workdir, mesh=make_mesh(), iterate=how)
    print(json.dumps(as_json(result)))


if __name__ == "__main__":
    main()
