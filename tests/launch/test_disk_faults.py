"""Every command on a full disk, a read-only one, one that goes away, and where no folder can be.

One line on stderr, no word of a library, exit code 1; bad input ends with 2. What was there before
stays as it was, and the same command goes on when the disk has room again.
"""

from __future__ import annotations

import json
import os

import pytest

from common.training.checkpoints import list_steps
from launch.soak_runs import compare_runs

# What a command says of its work on stderr, beside the one error.
WORK = ("lcr (", "supervised: ", "supervised  step", "trained ", "run 1 of 1", "[1/1]", "stopped: ",
        "warning: ", "judging ", "rec / full", "tensorboardX is not")  # fmt: skip
MIB = 2**20


@pytest.fixture(scope="module")
def mounts(load_beside):
    opened = load_beside("own_mounts").open_mounts()
    if opened is None:
        pytest.skip("no mounts of one's own here")
    yield opened
    opened.close()


class Disk:
    """A small disk that only the commands in `mounts` see."""

    def __init__(self, mounts, place):
        self.mounts, self.place = mounts, place
        place.mkdir()
        self.grow(40 * MIB, first=True)

    def grow(self, size, first=False):
        words = ["-t", "tmpfs", "none"] if first else []
        options = f"size={size}" if first else f"remount,size={size}"
        assert self.mounts.shell("mount", "-o", options, *words, self.place) == 0

    def leave_room(self, size):
        """No more than `size` bytes can be written from now on, in pages of 4,096."""
        about = os.statvfs(self.mounts.seen(self.place))
        used = (about.f_blocks - about.f_bfree) * about.f_frsize
        if not used:  # 0 would be a disk without an end
            self.mounts.seen(self.place / "full").write_bytes(b"x" * 4096)
            used = 4096
        self.grow(used + size)

    def lock(self):
        """Read-only, for root too."""
        assert self.mounts.shell("mount", "-o", "remount,ro", self.place) == 0

    def copy(self, folder, name):
        assert self.mounts.shell("cp", "-r", folder, self.place / name) == 0
        return self.place / name

    def remove(self, *names):
        words = ["rm", "-rf", *(self.place / name for name in names)]
        assert self.mounts.shell(*words) == 0

    def names(self, name="."):
        names = (path.name for path in self.mounts.seen(self.place / name).iterdir())
        return sorted(name for name in names if name != "full")


@pytest.fixture
def disk(mounts, tmp_path):
    disk = Disk(mounts, tmp_path / "disk")
    yield disk
    assert mounts.shell("umount", "-l", disk.place) == 0


def check_end(ended, code=1):
    """One error, nothing that a library said, the exit code. Returns the line."""
    assert not ended.escaped, ended.escaped
    lines = [
        line
        for line in ended.err.replace("\r", "\n").splitlines()
        if line.strip() and not line.startswith(WORK)
    ]
    assert len(lines) == 1, ended.err
    assert lines[0].startswith("error: "), ended.err
    assert ended.code == code, ended.err
    return lines[0]


def words_of(command, tiny, finished, out):
    """A command line that writes to `out`, by the name of a case."""
    config = ["--config=lcr_jax/configs/tiny.py", f"--config.data.path={tiny}"]
    return {
        "prepare": ["prepare", "--source=synthetic", "--preset=tiny", f"--out={out}"],
        "main": ["main", *config, f"--workdir={out}"],
        "evaluate": ["main", "--mode=evaluate", f"--workdir={out}"],
        "explain": ["main", "--mode=explain", "--users=#17", f"--workdir={out}"],
        "compare": ["compare", f"--run=A:{finished}", f"--out={out}"],
        "study": ["study", "masking", f"--runs=A={finished}", "--draws=1", f"--out={out}"],
        "sweep": ["sweep", *config, f"--workdir={out}"],
        "soak": ["soak", *config, f"--workdir={out}"],
        "bench": ["bench", "saves", "--megabytes=3", "--saves=1", f"--out={out}"],
    }[command]


COMMANDS = ("prepare", "main", "evaluate", "explain", "compare", "study", "sweep", "soak", "bench")


@pytest.mark.parametrize("command", COMMANDS)
def test_a_read_only_disk(command, disk, mounts, tiny, finished):
    if command in ("evaluate", "explain"):
        disk.copy(finished, "out")
    disk.lock()
    ended = mounts.run(*words_of(command, tiny, finished, disk.place / "out"))
    line = check_end(ended)
    assert str(disk.place) in line
    assert "ead-only" in line


@pytest.mark.parametrize("below", [False, True], ids=["a file", "below a file"])
@pytest.mark.parametrize("command", COMMANDS)
def test_a_folder_that_cannot_be_is_bad_input(command, below, disk, mounts, tiny, finished):
    if command == "bench" and not below:
        pytest.skip("its --out is a file")
    file = disk.copy(tiny / "dataset.json", "file")
    ended = mounts.run(*words_of(command, tiny, finished, file / "out" if below else file))
    assert str(file) in check_end(ended, 2)
    assert mounts.seen(file).read_bytes() == (tiny / "dataset.json").read_bytes()


@pytest.mark.parametrize(
    ("command", "room", "file", "left"),
    [
        ("prepare", 0, "out", []),
        ("prepare", 16384, "out", []),
        ("prepare", 65536, "out", []),
        ("prepare", 131072, "out", []),
        ("compare", 4096, "out/compare.json", []),
        ("compare", 8192, "out/compare.md", ["compare.json"]),
        ("compare", 12288, "out/compare.png", ["compare.json", "compare.md"]),
        ("study", 4096, "out/masking.md", ["masking.json"]),
        ("sweep", 0, "out/seed0/config.json", ["seed0"]),
        ("bench", 0, "out", []),
    ],
)
def test_a_full_disk(command, room, file, left, disk, mounts, tiny, finished):
    disk.leave_room(room)
    ended = mounts.run(*words_of(command, tiny, finished, disk.place / "out"))
    line = check_end(ended)
    assert line.startswith(f"error: {disk.place / file}: cannot be written (No space left on dev")
    names = disk.names() if command in ("prepare", "bench") else disk.names("out")
    assert [name for name in names if not name.endswith(".png.tmp")] == left
    if command in ("prepare", "compare"):
        disk.grow(40 * MIB)
        again = mounts.run(*words_of(command, tiny, finished, disk.place / "out"))
        assert again.code == 0, again.err
        assert not [name for name in disk.names("out") if name.endswith(".tmp")]


def test_a_full_disk_leaves_the_dataset_that_was_to_be_replaced(disk, mounts, tiny, finished):
    folder = disk.copy(tiny, "out")
    disk.leave_room(65536)
    check_end(mounts.run(*words_of("prepare", tiny, finished, folder), "--overwrite"))
    assert disk.names() == ["out"]
    assert mounts.run("audit", f"--data={folder}").code == 0


@pytest.fixture
def part(disk, finished):
    """A run before its last checkpoint, on the small disk."""
    workdir = disk.copy(finished, "out")
    newest = list_steps(finished / "checkpoints")[-1]
    disk.remove(f"out/checkpoints/{newest}", "out/results.json", "out/ranks.parquet")
    return workdir


@pytest.mark.parametrize(
    ("room", "file"),
    [
        (0, "metrics.jsonl"),
        (12288, "checkpoints/18"),
        (400 * 1024, "checkpoints/18"),
        # A checkpoint takes 0.95 to 1.25 MB, by chance of the threads that write it.
        (800 * 1024, "checkpoints/18"),
    ],
)
def test_a_disk_that_fills_up_while_training(room, file, part, disk, mounts, tiny, finished):
    before = disk.names("out/checkpoints")
    disk.leave_room(room)
    words = words_of("main", tiny, finished, part)
    line = check_end(mounts.run(*words))
    assert line.startswith(f"error: {part / file}: cannot be ")
    assert "(No space left on device)" in line
    names = disk.names("out/checkpoints")
    assert [name for name in names if "orbax-checkpoint-tmp" not in name] == before
    if room in (0, 400 * 1024):
        disk.grow(40 * MIB)
        assert mounts.run(*words).code == 0
        assert compare_runs(finished, mounts.seen(part)) == []
        assert disk.names("out/checkpoints") == sorted(os.listdir(finished / "checkpoints"))


def test_damaged_lines_that_find_no_room(part, disk, mounts, tiny, finished):
    log = mounts.seen(part / "metrics.jsonl")
    whole = log.read_bytes()
    log.write_bytes(b"[]\n" + whole)
    disk.leave_room(0)
    words = words_of("main", tiny, finished, part)
    assert f"error: {part}/metrics" in check_end(mounts.run(*words))
    assert log.read_bytes() == b"[]\n" + whole


@pytest.mark.parametrize(
    ("mode", "room", "file"),
    [
        ("evaluate", 0, "ranks.parquet"),
        ("evaluate", 8192, "results.json"),  # the lock has a page, and the ranks have one
        ("explain", 0, "explain/{user}.json"),
        ("explain", 16384, "explain/{user}.png"),
    ],
)
def test_a_full_disk_while_judging(mode, room, file, disk, mounts, tiny, finished):
    workdir = disk.copy(finished, "out")
    results = (finished / "results.json").read_bytes()
    disk.leave_room(room)
    line = check_end(mounts.run(*words_of(mode, tiny, finished, workdir)))
    start, _, end = file.partition("{user}")
    assert line.startswith(f"error: {workdir / start}")
    assert f"{end}: cannot be written (No space left on device)" in line
    assert mounts.seen(workdir / "results.json").read_bytes() == results


@pytest.mark.parametrize(
    ("command", "when"),
    [
        ("prepare", "common.data.folder:_write_split"),
        ("prepare", "common.data.folder:write_lists"),
        ("main", "common.training.logbook:Logbook.write"),
        ("main", "common.training.checkpoints:Checkpoints.save"),
        ("main", "common.training.checkpoints:write_checksums"),
        ("evaluate", "common.runs.judging:write_ranks"),
        ("evaluate", "common.runs.judging:write_results"),
        ("explain", "launch.explain:name_file"),
        ("compare", "launch.compare:write_beside"),
        ("compare", "launch.compare:draw_comparison"),
        ("bench", "launch.bench.subjects:write_beside"),
    ],
)
def test_a_folder_that_vanishes(command, when, disk, mounts, tiny, finished, request):
    if command == "main":
        request.getfixturevalue("part")
    elif command in ("evaluate", "explain"):
        disk.copy(finished, "out")
    else:
        assert mounts.shell("mkdir", disk.place / "out") == 0
    place = disk.place / "out" / ("new" if command in ("prepare", "bench") else "")
    words = words_of(command, tiny, finished, place)
    ended = mounts.run(*words, when=when, do=["rm", "-rf", disk.place / "out"])
    if command == "explain":
        assert ended.code in (0, 1)  # its folder is made again, as for a new user
        return
    assert "(No such file or directory)" in check_end(ended)
    assert disk.names() == []


@pytest.mark.parametrize(
    ("command", "when"),
    [
        ("main", "common.data.dataset:build_timeline"),
        ("main", "common.data.loading:make_rec_events"),
        ("audit", "common.data.loading:make_rec_events"),
        ("audit", "common.data.audit:audit_dataset"),
    ],
)
def test_a_dataset_that_vanishes_while_it_is_read(command, when, disk, mounts, tiny):
    """What is missing when it is read is told as what was never there: bad input, as a rule."""
    data = disk.copy(tiny, "data")
    words = [command, f"--data={data}"]
    if command == "main":
        words = ["main", "--config=lcr_jax/configs/tiny.py", f"--config.data.path={data}"]
        words.append(f"--workdir={disk.place / 'out'}")
    ended = mounts.run(*words, when=when, do=["rm", "-rf", data])
    assert ended.code in (1, 2), ended
    assert str(data) in check_end(ended, ended.code)
    assert disk.names() == []


@pytest.mark.parametrize("damage", ["a directory", "a pipe", "a loop"])
@pytest.mark.parametrize(
    ("command", "name", "codes"),
    [
        ("main", "config.json", (0, 1, 2)),
        ("main", "metrics.jsonl", (1, 2)),
        ("main", "checkpoints", (0, 1, 2)),
        ("main", "results.json", (0, 1, 2)),
        ("compare", "results.json", (2,)),
        ("compare", "ranks.parquet", (2,)),
        ("compare", "config.json", (2,)),
    ],
)
def test_something_else_where_a_file_should_be(
    command, name, codes, damage, disk, mounts, tiny, finished
):
    """One line, and never a wait without an end. What leads nowhere is as good as nothing."""
    workdir = disk.copy(finished, "out")
    disk.remove(f"out/{name}")
    made = {"a directory": ["mkdir"], "a pipe": ["mkfifo"], "a loop": ["ln", "-s", workdir / name]}
    assert mounts.shell(*made[damage], workdir / name) == 0
    words = words_of(command, tiny, workdir if command == "compare" else finished, workdir)
    if command == "compare":
        words[-1] = f"--out={disk.place / 'report'}"
    ended = mounts.run(*words)
    assert ended.code in codes, ended
    if ended.code:
        assert str(workdir) in check_end(ended, ended.code)


def test_stray_files_among_the_checkpoints(disk, mounts, tiny, finished):
    workdir = disk.copy(finished, "out")
    mounts.seen(workdir / "checkpoints" / "notes.txt").write_text("mine")
    mounts.seen(workdir / "checkpoints" / "99").write_text("a file with a checkpoint's name")
    ended = mounts.run(*words_of("evaluate", tiny, finished, workdir))
    assert ended.code == 0, ended.err
    assert "Traceback" not in ended.err
    results = json.loads(mounts.seen(workdir / "results.json").read_text())
    assert results["tasks"] == json.loads((finished / "results.json").read_text())["tasks"]
