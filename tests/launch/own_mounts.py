"""Commands in a process with mounts of its own: disks that are full, read-only, or go away.

Permission bits do not bind root, which tests may run as; a small tmpfs and a read-only bind mount
do. The process is root in a user namespace, so nobody else sees what it mounts, and it needs no
rights. It stays for many commands: each alone would first import jax.

One JSON object per line goes in, one comes out; see `OwnMounts`.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import pkgutil
import select
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
LONGEST_SECONDS = 300  # of one command: a few, where nobody else computes


class Ended(NamedTuple):
    """How a command ended: its exit code, what it printed, what escaped it (a traceback, or "")."""

    code: int
    out: str
    err: str
    escaped: str


class OwnMounts:
    """The process, from outside."""

    def __init__(self):
        self.process = subprocess.Popen(
            ["unshare", "--user", "--map-root-user", "--mount", sys.executable, __file__],
            cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"},
        )  # fmt: skip

    def ask(self, **request):
        print(json.dumps(request), file=self.process.stdin, flush=True)
        if not select.select([self.process.stdout], [], [], LONGEST_SECONDS)[0]:
            self.process.kill()
            raise TimeoutError(f"no answer to {request}")
        answer = self.process.stdout.readline()
        assert answer, "the process with its own mounts has died"
        return json.loads(answer)

    def shell(self, *words):
        """Runs words, such as mount or rm, among the own mounts. Returns their exit code."""
        return self.ask(words=[str(word) for word in words])

    def run(self, command, *words, when=None, do=()):
        """Runs `launch.COMMAND`. when: "module:name" of a function; just before it is first called,
        the words of `do` are run."""
        when = when and [when, [str(word) for word in do]]
        return Ended(**self.ask(command=command, words=[str(w) for w in words], when=when))

    def seen(self, path):
        """The path under which this process sees what that one has there."""
        return Path(f"/proc/{self.process.pid}/root{path}")

    def close(self):
        self.process.stdin.close()
        self.process.wait(60)


def open_mounts():
    """An `OwnMounts`; None where the system allows no mounts of one's own."""
    if shutil.which("unshare") is None:
        return None
    allowed = subprocess.run(
        ["unshare", "--user", "--map-root-user", "--mount", "mount", "-t", "tmpfs", "x", "/mnt"],
        capture_output=True, check=False,
    )  # fmt: skip
    return OwnMounts() if allowed.returncode == 0 else None


def serve():
    """Answers requests until there are no more."""
    requests, answers = os.fdopen(os.dup(0)), os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for line in requests:
        request = json.loads(line)
        if "command" in request:
            answer = call(request["command"], request["words"], request["when"])
        else:
            answer = subprocess.run(request["words"], check=False).returncode
        print(json.dumps(answer), file=answers)


def call(command, words, when):
    """Runs a command here; gives an `Ended` as a dict. What libraries print is caught, too."""
    from launch.command import run_command

    main = importlib.import_module(f"launch.{command}").main
    undo = interpose(*when) if when else lambda: None
    code, escaped = -1, ""
    before = [os.dup(number) for number in (1, 2)]
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        os.dup2(out.fileno(), 1)
        os.dup2(err.fileno(), 2)
        try:
            code = run_command(main, words)
        except BaseException as error:
            import traceback

            escaped = "".join(traceback.format_exception(error))
        finally:
            gc.collect()  # what nobody asks for any more is told now
            sys.stdout.flush()
            sys.stderr.flush()
            for number, old in zip((1, 2), before, strict=True):
                os.dup2(old, number)
                os.close(old)
            undo()
        texts = []
        for file in (out, err):
            file.seek(0)
            texts.append(file.read().decode(errors="replace"))
    return {"code": code, "out": texts[0], "err": texts[1], "escaped": escaped}


def interpose(name, words):
    """Runs words just before the function of that name is called for the first time."""
    place, _, attribute = name.replace(":", ".").rpartition(".")
    owner = pkgutil.resolve_name(place)
    original = getattr(owner, attribute)
    done = []

    def wrapped(*args, **kwargs):
        if not done:
            done.append(subprocess.run(words, check=True))
        return original(*args, **kwargs)

    setattr(owner, attribute, wrapped)
    return lambda: setattr(owner, attribute, original)


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    serve()
