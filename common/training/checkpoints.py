"""Checkpoints on disk, through Orbax. No other file imports it.

    checkpoints/120/           one folder per saved global step: the latest three, the best, and
                               the best before that
        params/                the parameters
        optimizer/             the stage's step, the optimiser's moments, and the parameters that
                               the stage began with, where it keeps them
        progress/              JSON: `Progress`, and the run's fingerprint
        checksums.json         every file above, see `common.training.checksums`

Orbax writes a folder under another name and renames it when it is complete, so a kill in the middle
of a save leaves no folder. The checksums find what was damaged later: nothing is read from a
checkpoint that does not have them. Constants are not saved: `Task.init` makes them again from the
same key.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

import jax
import orbax.checkpoint as ocp

from common.errors import MEND, InputError, WriteError
from common.json_files import check_depth, take
from common.training.checksums import CutShort, check_files, hide_odd_metadata, write_checksums
from common.training.optimizers import name_leaves
from common.training.orbax_noise import silence_orbax
from common.training.plain_path import plain_path
from common.training.processes import is_first, meet
from common.training.state import Progress, TrainState

# One to go on from, one for the day that the first is damaged, and one for the moment in which the
# newest has no checksums yet while Orbax has already deleted an older one.
LATEST = 3
IDENTITY = "identity"  # of a fingerprint: name -> sha256
_AGAIN = "train again"
ASIDE = "damaged"  # where damaged checkpoints go, beside the good ones


class _KeepLatestAndBest:
    """Orbax's own best-of policy ranks by saved metrics; ours knows the best of this stage."""

    def __init__(self) -> None:
        self.best: tuple[int | None, ...] = ()  # and the one before it

    def should_preserve(self, checkpoints: Any, *, context: Any) -> list[bool]:
        steps = [checkpoint.step for checkpoint in checkpoints]
        keep = {*sorted(steps)[-LATEST:], *self.best}
        return [step in keep for step in steps]


class Checkpoints:
    """Writes a run's checkpoints, in the background; one writer per folder.

    A save that fails leaves the checkpoints before it as they are: Orbax deletes old ones when the
    new one is complete.
    """

    def __init__(self, folder: Path) -> None:
        silence_orbax()
        try:
            self.folder = folder.resolve()  # Orbax's writing thread fails late on a relative path
        except (OSError, RuntimeError):  # a RuntimeError for a loop, before Python 3.13
            raise InputError(f"{folder}: is a link to itself; use another --workdir") from None
        self._policy = _KeepLatestAndBest()
        self._barrier = _BarrierUnlessFailed()
        self._unlisted: int | None = None  # a step whose checksums are still to be written
        self._failed = False  # a save, and its error has been raised
        options = ocp.CheckpointManagerOptions(
            preservation_policy=self._policy,
            save_decision_policy=_SaveAlways(),
            cleanup_tmp_directories=True,
            async_options=ocp.AsyncOptions(barrier_sync_fn=self._barrier),
        )
        for step in list_steps(self.folder):
            hide_odd_metadata(self.folder / str(step))
        self._manager = ocp.CheckpointManager(plain_path(self.folder), options=options)

    def __enter__(self) -> Checkpoints:
        return self

    def __exit__(self, *error: object) -> None:
        try:
            self.wait()
        finally:
            # After a failed save it raises the same error once more, as it came.
            with suppress(Exception) if self._failed else nullcontext():
                self._manager.close()

    def save(self, state: TrainState, progress: Progress, fingerprint: Mapping[str, Any]) -> None:
        """Starts saving; the arrays may be donated as soon as this returns.

        Raises WriteError when this save or the last one has failed.
        """
        self.wait()  # two saves never overlap, and an error of the last one is raised here
        step = progress.global_step
        self._policy.best = (progress.best_step, progress.former_best_step)
        record = {"progress": progress.to_json(), "fingerprint": dict(fingerprint)}
        with self._saving(step):
            self.folder.stat()  # Orbax would make it again, and nobody would miss the rest
            if step in self._manager.all_steps():
                self._manager.delete(step)
            saved = self._manager.save(
                step,
                args=ocp.args.Composite(
                    params=ocp.args.StandardSave(state.params),
                    optimizer=ocp.args.StandardSave(_optimizer_part(state)),
                    progress=ocp.args.JsonSave(record),
                ),
            )
        if not saved:
            raise RuntimeError(f"{self.folder / str(step)}: Orbax refused to save this step")
        self._unlisted = step

    def check(self) -> None:
        """Raises WriteError if the last save has failed by now; does not wait for it."""
        if self._unlisted is None:
            return
        if self._barrier.failed or not self._manager.is_saving_in_progress():
            self.wait()

    def wait(self) -> None:
        """Returns when the last save is complete on disk. Raises WriteError when it failed."""
        step, self._unlisted = self._unlisted, None
        if step is None:
            return
        with self._saving(step):
            self._manager.wait_until_finished()
            if is_first():
                write_checksums(self.folder / str(step))

    @contextmanager
    def _saving(self, step: int) -> Iterator[None]:
        """Whatever Orbax raises inside the block becomes one line."""
        try:
            yield
        except Exception as error:
            self._failed = True
            kept = "what was saved before is whole; " if self.folder.is_dir() else ""
            raise WriteError(
                f"{self.folder / str(step)}: cannot be saved ({_reason(error)}); {kept}{MEND}"
            ) from error

    def steps(self) -> list[int]:
        """Saved global steps, ascending."""
        return sorted(self._manager.all_steps())

    def set_aside(self, step: int, *, keep: bool = True) -> None:
        """Moves a damaged checkpoint out of the way, for the user to look at; or deletes it."""
        if is_first():
            aside = self.folder / ASIDE
            shutil.rmtree(aside / str(step), ignore_errors=True)
            if keep:
                aside.mkdir(exist_ok=True)
                (self.folder / str(step)).rename(aside / str(step))
            else:
                shutil.rmtree(self.folder / str(step))
        meet(f"set aside {step}")
        self._manager.reload()


class _BarrierUnlessFailed:
    """Where the processes of a run wait for each other while they save.

    After an error Orbax would still wait for the others, 20 minutes by default, before it lets
    this process know. Here the process whose save failed does not wait, so its run can end.
    """

    def __init__(self) -> None:
        self.failed = False

    def __call__(self, *, key: str, timeout_ms: int) -> None:
        error = sys.exc_info()[1]  # Orbax calls from a `finally`: what is on its way through that
        if error is not None:
            self.failed = True
            raise error
        ocp.multihost.get_barrier_sync_fn()(key=key, timeout_ms=timeout_ms)


class _SaveAlways:
    """The loop decides when to save; by default Orbax also refuses steps below its newest."""

    def should_save(self, step: Any, previous_steps: Any, *, context: Any) -> bool:
        return True


def list_steps(folder: Path) -> list[int]:
    """Saved global steps of a checkpoint folder, ascending; none where there is no folder."""
    if not folder.is_dir():
        return []
    return sorted(int(path.name) for path in folder.iterdir() if path.name.isdecimal())


def _plain(path: Path) -> Path:
    return plain_path(path.resolve().parent) / path.name


def open_checked(path: Path) -> tuple[Progress, dict[str, Any]]:
    """As `read_record`, of a checkpoint whose every file is what was saved.

    Raises CutShort, also for a folder that was renamed.
    """
    check_files(path)
    progress, fingerprint = read_record(path)
    if str(progress.global_step) != path.name:
        raise CutShort(f"it holds step {progress.global_step}, so the folder was renamed")
    return progress, fingerprint


def read_record(path: Path) -> tuple[Progress, dict[str, Any]]:
    """The progress and the fingerprint of one checkpoint. Raises CutShort."""
    try:
        with ocp.Checkpointer(ocp.JsonCheckpointHandler()) as reader:
            record = reader.restore(_plain(path) / "progress")
        check_depth(record, "progress", _AGAIN)
        fingerprint: dict[str, Any] = take(record, "fingerprint", dict, "progress", _AGAIN)
        for name in take({IDENTITY: {}} | fingerprint, IDENTITY, dict, "progress", _AGAIN):
            take(fingerprint, f"{IDENTITY}.{name}", str, "progress", _AGAIN)
        return Progress.from_json(take(record, "progress", dict, "progress", _AGAIN)), fingerprint
    except InputError as error:
        raise CutShort(str(error).partition(";")[0]) from error
    except Exception as error:
        raise CutShort(f"progress: {_first_line(error)}") from error


def read_params(path: Path, shapes: Any) -> Any:
    """The parameters of one checkpoint, with the shapes, dtypes and shardings given.

    Raises CutShort. Compare `describe_params` first: Orbax casts dtypes without a word.
    """
    return _read(_plain(path) / "params", shapes)


def read_state(path: Path, shapes: TrainState) -> TrainState:
    """The training state of one checkpoint; as `read_params`."""
    optimizer = _read(_plain(path) / "optimizer", _optimizer_part(shapes))
    params = read_params(path, shapes.params)
    return TrainState(optimizer["step"], params, optimizer["moments"], optimizer.get("start"))


def describe_saved(path: Path, part: str) -> dict[str, tuple[tuple[int, ...], str]]:
    """What one checkpoint holds: {name: (shape, dtype)}.

    part: "params" or "optimizer"
    Raises CutShort.
    """
    try:
        found = ocp.StandardCheckpointHandler().metadata(_plain(path) / part)
        return describe_tree(found.tree)
    except Exception as error:
        raise CutShort(f"{part}: {_first_line(error)}") from error


def describe_state(state: TrainState) -> dict[str, dict[str, tuple[tuple[int, ...], str]]]:
    """What a checkpoint of this state would hold, by part: arrays or shapes."""
    return {
        "params": describe_tree(state.params),
        "optimizer": describe_tree(_optimizer_part(state)),
    }


def describe_tree(tree: Any) -> dict[str, tuple[tuple[int, ...], str]]:
    """{name: (shape, dtype)} of a tree of arrays, shapes or Orbax's descriptions of arrays."""
    return {
        name: (tuple(leaf.shape), str(jax.numpy.dtype(leaf.dtype)))
        for name, leaf in name_leaves(tree)
    }


def _optimizer_part(state: TrainState) -> dict[str, Any]:
    part = {"step": state.step, "moments": state.opt_state}
    return part if state.start is None else part | {"start": state.start}


def _read(path: Path, shapes: Any) -> Any:
    try:
        with ocp.StandardCheckpointer() as reader:
            # Not strict: the rows of zeros that split a table over a mesh are cut off or added.
            return reader.restore(path, shapes, strict=False)
    except Exception as error:
        raise CutShort(f"{path.name}: {_first_line(error)}") from error


def _first_line(error: BaseException) -> str:
    lines = str(error).splitlines() or [""]
    return f"{type(error).__name__} {lines[0][:120]}".strip()


def _reason(error: BaseException) -> str:
    """What the operating system said, where it did; tensorstore gives its number only."""
    link: BaseException | None = error
    while link is not None:
        if isinstance(link, OSError) and link.strerror:
            return link.strerror
        if found := re.search(r"os_error_code='(\d+)'", str(link)):
            return os.strerror(int(found[1]))
        link = link.__cause__ or link.__context__
    return _first_line(error)
