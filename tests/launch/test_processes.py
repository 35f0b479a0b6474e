"""Runs of many processes: flags, the coordinator, and two processes on one machine."""

import os
import resource
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from absl import flags

from common.errors import InputError
from launch import main as train_command
from launch.processes import Joined, define_process_flags, join_processes, read_process_flags
from launch.soak import compare_runs

ROOT = Path(__file__).resolve().parents[2]
ROOM = 12_000  # bytes: more than the record of a run, less than the largest file of a checkpoint


def read(*words):
    values = flags.FlagValues()
    define_process_flags(values)
    values(["main", *words], known_only=True)
    return read_process_flags(values)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_without_flags_a_process_is_alone():
    assert read() == Joined()
    join_processes(Joined())  # does nothing


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--processes=2"], "go together"),
        (["--coordinator=a:1", "--processes=2"], "go together"),
        (["--coordinator=a", "--processes=2", "--process=0"], "is not HOST:PORT"),
        (["--coordinator=a:1", "--processes=2", "--process=2"], "is not one of 2, 0 to 1"),
        (["--cluster", "--processes=2"], "leave out --coordinator"),
    ],
)
def test_flags_that_do_not_go_together(words, message):
    with pytest.raises(InputError, match=message):
        read(*words)


def test_a_coordinator_that_is_not_there_is_named_after_a_while():
    address = f"127.0.0.1:{free_port()}"
    started = time.monotonic()
    with pytest.raises(InputError, match=rf"{address}: does not answer after 1 s"):
        join_processes(Joined(address, 2, 1, wait_seconds=1))
    assert time.monotonic() - started < 30


SASREC = ("--config=baselines_jax/configs/sasrec_tiny.py", "--config.train.log_every_steps=2")


def start(data, workdir, *words, devices=1, run=SASREC):
    return subprocess.Popen(
        [
            sys.executable, "-m", "launch.main", *run, f"--config.data.path={data}",
            f"--workdir={workdir}", "--notensorboard", *words,
        ],
        cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "JAX_PLATFORMS": "cpu", "JAX_NUM_CPU_DEVICES": str(devices)},
    )  # fmt: skip


def start_two(data, workdir, *words, run=SASREC):
    words += (f"--coordinator=127.0.0.1:{free_port()}", "--processes=2")
    return [start(data, workdir, *words, f"--process={number}", run=run) for number in (0, 1)]


def count_lines(workdir):
    log = workdir / "metrics.jsonl"
    return log.read_text().count("\n") if log.exists() else 0


def await_lines(workdir, count, processes):
    """Returns when the record of a run has more lines than that."""
    while count_lines(workdir) <= count:
        assert all(process.poll() is None for process in processes), finish(*processes)
        time.sleep(0.05)


def run_one(data, workdir, mesh):
    codes, errors = finish(start(data, workdir, f"--config.mesh={mesh}", devices=2))
    assert codes == [0], errors
    return workdir


def finish(*processes):
    errors = [process.communicate(timeout=600)[1] for process in processes]
    return [process.returncode for process in processes], errors


@pytest.mark.parametrize(("mesh", "victim"), [("data:2", 0), ("model:2", 1)])
def test_whatever_befalls_two_processes_they_are_one_run(mesh, victim, tiny, tmp_path):
    """One workdir: SIGTERM to one, a kill of one, a disk that is full for one; then to the end.

    The numbers are those of one process with two devices, bit for bit. Over "model" each process
    saves its rows of the tables; both then read all rows of a batch.
    """
    words = (f"--config.mesh={mesh}", "--config.train.epochs=6")
    codes, errors = finish(start(tiny, tmp_path / "one", *words, devices=2))
    assert codes == [0], errors
    two = tmp_path / "two"

    # SIGTERM to one of them saves on both.
    processes = start_two(tiny, two, *words)
    await_lines(two, 3, processes)
    processes[1 - victim].send_signal(signal.SIGTERM)
    codes, errors = finish(*processes)
    assert codes == [143, 143], errors
    assert "SIGTERM: saved at step" in errors[0]

    # Without the other, neither can go on: it ends within the heartbeat, whichever it is.
    processes = start_two(tiny, two, *words, "--heartbeat=10")
    await_lines(two, count_lines(two) + 4, processes)
    processes[victim].kill()
    killed = time.monotonic()
    processes[1 - victim].communicate(timeout=300)
    assert processes[1 - victim].returncode not in (0, 143)
    assert time.monotonic() - killed < 100  # what JAX gives it by itself, and 10 were asked for
    processes[victim].communicate()
    assert not (two / "results.json").exists()

    # A limit on the size of files stands for a full disk. By itself Orbax waits 20 minutes.
    processes = start_two(tiny, two, *words, "--heartbeat=10")
    await_lines(two, count_lines(two) + 4, processes)
    resource.prlimit(processes[victim].pid, resource.RLIMIT_FSIZE, (ROOM, ROOM))
    codes, errors = finish(*processes)
    assert codes[victim] == 1, errors
    assert codes[1 - victim] not in (0, 143)
    assert "cannot be saved (File too large); what was saved before is whole" in errors[victim]
    assert errors[victim].splitlines()[-1].startswith(f"error: {two}")

    codes, errors = finish(*start_two(tiny, two, *words))
    assert codes == [0, 0], errors
    assert compare_runs(tmp_path / "one", two) == []


def test_lcr_and_a_signal_in_its_second_stage(tiny, tmp_path, small_runs):
    """Histories are gathered on the devices, those of both processes."""
    run = (*small_runs.WORDS["lcr"], "--config.resident=on")
    codes, errors = finish(start(tiny, tmp_path / "one", devices=2, run=run))
    assert codes == [0], errors
    processes = start_two(tiny, tmp_path / "two", run=run)
    while len(small_runs.read_stage(tmp_path / "two", "reinforce")) < 2:
        assert all(process.poll() is None for process in processes), finish(*processes)
        time.sleep(0.05)
    processes[1].send_signal(signal.SIGTERM)
    codes, errors = finish(*processes)
    assert codes == [143, 143], errors
    codes, errors = finish(*start_two(tiny, tmp_path / "two", run=run))
    assert codes == [0, 0], errors
    assert compare_runs(tmp_path / "one", tmp_path / "two") == []


def test_gensr_with_its_tables_on_both_processes(tiny, tmp_path, small_runs):
    run = (
        *small_runs.WORDS["gensr"],
        "--config.mesh=model:2",
        "--config.train.probe_every_steps=0",
    )
    codes, errors = finish(start(tiny, tmp_path / "one", devices=2, run=run))
    assert codes == [0], errors
    codes, errors = finish(*start_two(tiny, tmp_path / "two", run=run))
    assert codes == [0, 0], errors
    assert compare_runs(tmp_path / "one", tmp_path / "two") == []


def test_explaining_is_for_one_process(tiny, tmp_path):
    words = [f"--config={ROOT}/lcr_jax/configs/tiny.py", f"--config.data.path={tiny}"]
    words += [f"--workdir={tmp_path}", "--mode=explain", "--users=u1", "--cluster"]
    with pytest.raises(InputError, match="--mode=explain: runs in one process"):
        train_command.main(words)
