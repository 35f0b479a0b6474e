"""How often the trainer evaluates, saves and logs."""

from __future__ import annotations

from dataclasses import dataclass

from common.errors import InputError


@dataclass(frozen=True)
class TrainSettings:
    """How often the trainer evaluates, saves and logs. None of it changes the trained numbers,
    except that early stopping and the plateau rule count evaluations, and `accumulate`."""

    eval_every_epochs: float = 1.0
    eval_every_steps: int = 0  # above 0: instead of eval_every_epochs
    checkpoint_every_steps: int = 0  # besides the one after each evaluation; 0 = only those
    log_every: int = 50  # steps between two lines of metrics.jsonl
    probe_every_steps: int = 0  # between two calls of a stage's `probe`; 0 = never
    accumulate: int = 1  # parts of a batch, whose gradients are made one after the other
    steps_per_dispatch: int = 1  # run by one call, where no evaluation, save or probe is between
    show_progress: bool = True
    tensorboard: bool = True

    def __post_init__(self) -> None:
        for name in ("eval_every_steps", "checkpoint_every_steps", "probe_every_steps"):
            if getattr(self, name) < 0:
                raise InputError(f"{name} = {getattr(self, name)}: below 0; use 0 or more")
        for name in ("eval_every_epochs", "log_every", "accumulate", "steps_per_dispatch"):
            if getattr(self, name) <= 0:
                raise InputError(f"{name} = {getattr(self, name)}: not above 0; use 1 or more")
