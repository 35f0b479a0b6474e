"""The processes of one run: not at all, by flags, or by the environment of the cluster.

    --coordinator=HOST:PORT --processes=N --process=I   the same command on every host, but for I
    --cluster                                           Slurm, Open MPI, Cloud TPU and GKE tell

Without either the run is one process, whatever the environment says: a shell inside a Slurm job is
not a run of many.
"""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from absl import flags

from common.errors import InputError, WriteError

_RETRY_SECONDS = 0.5


class Joined(NamedTuple):
    """How a process finds the others. All empty = it is alone."""

    coordinator: str = ""  # HOST:PORT of process 0
    processes: int = 0
    process: int = -1
    cluster: bool = False
    wait_seconds: int = 300
    heartbeat_seconds: int = 30


def define_process_flags(values: flags.FlagValues) -> None:
    """Adds the flags above to those of a command."""
    flags.DEFINE_string(
        "coordinator", "", "HOST:PORT of process 0, for a run of many processes", flag_values=values
    )
    flags.DEFINE_integer("processes", 0, "processes of the run", flag_values=values)
    flags.DEFINE_integer("process", -1, "number of this process, from 0", flag_values=values)
    flags.DEFINE_bool(
        "cluster", False, "ask the cluster (Slurm, Cloud TPU, GKE) for the other processes",
        flag_values=values,
    )  # fmt: skip
    flags.DEFINE_integer(
        "wait", 300, "seconds to wait for the other processes", lower_bound=1, flag_values=values
    )
    flags.DEFINE_integer(
        "heartbeat", 30, "seconds without a sign of a process until the others give it up and end",
        lower_bound=1, flag_values=values,
    )  # fmt: skip


def read_process_flags(values: flags.FlagValues) -> Joined:
    """The flags as a value. Raises InputError for some that do not go together."""
    joined = Joined(
        values.coordinator, values.processes, values.process, values.cluster, values.wait,
        values.heartbeat,
    )  # fmt: skip
    given = [joined.coordinator != "", joined.processes != 0, joined.process != -1]
    if joined.cluster and any(given):
        raise InputError("--cluster: finds the processes itself; leave out --coordinator, "
                         "--processes and --process")  # fmt: skip
    if any(given) and not all(given):
        raise InputError("--coordinator, --processes, --process: go together; give all three")
    if all(given):
        host, _, port = joined.coordinator.rpartition(":")
        if not host or not port.isdecimal():
            raise InputError(f"--coordinator={joined.coordinator}: is not HOST:PORT")
        if not 0 <= joined.process < joined.processes:
            raise InputError(
                f"--process={joined.process}: is not one of {joined.processes}, "
                f"0 to {joined.processes - 1}"
            )
    return joined


def join_processes(joined: Joined) -> None:
    """Connects this process to the others; must come before anything else that JAX does.

    Raises InputError when the coordinator does not answer in time, or no cluster is found.
    """
    if joined.coordinator:
        if joined.process:
            _await_coordinator(joined)
        import jax

        jax.distributed.initialize(
            joined.coordinator,
            joined.processes,
            joined.process,
            initialization_timeout=joined.wait_seconds,
            heartbeat_timeout_seconds=joined.heartbeat_seconds,
        )
    elif joined.cluster:
        import jax

        try:
            jax.distributed.initialize(
                initialization_timeout=joined.wait_seconds,
                heartbeat_timeout_seconds=joined.heartbeat_seconds,
            )
        except (ValueError, RuntimeError) as error:
            raise InputError(
                f"--cluster: found none ({str(error).splitlines()[0]}); give --coordinator, "
                "--processes and --process"
            ) from error


@contextmanager
def leaving_the_others() -> Iterator[None]:
    """Inside the block, a WriteError of one process of many ends that process at once.

    The others know nothing of it and wait in their next exchange. An ordinary exit would wait for
    them in turn, for minutes; without this process they end within a heartbeat.
    """
    try:
        yield
    except WriteError as error:
        import jax

        if jax.process_count() == 1:
            raise
        print(f"error: {error}", file=sys.stderr, flush=True)
        os._exit(1)


def _await_coordinator(joined: Joined) -> None:
    """JAX's own wait for a coordinator that never comes ends in an abort with a stack of C++."""
    host, _, port = joined.coordinator.rpartition(":")
    end = time.monotonic() + joined.wait_seconds
    while True:
        try:
            socket.create_connection((host, int(port)), timeout=5).close()
            return
        except OSError as error:
            if time.monotonic() > end:
                raise InputError(
                    f"--coordinator={joined.coordinator}: does not answer after "
                    f"{joined.wait_seconds} s ({error}); start process 0 there, or open the port"
                ) from error
        time.sleep(_RETRY_SECONDS)
