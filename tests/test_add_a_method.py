"""docs/add_a_method.md is true: its files, in a folder outside of the project, are a method."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def test_the_page_makes_a_method_that_trains_and_is_explained_by_its_errors(tmp_path):
    text = (ROOT / "docs/add_a_method.md").read_text()
    for code in re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL):
        file = tmp_path / code.splitlines()[0].removeprefix("# ")
        file.parent.mkdir(exist_ok=True)
        file.write_text(code)
    env = os.environ | {"PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}
    commands = re.findall(r"python -m (launch\.[^\n]+)", text)
    assert len(commands) == 2

    def run(command, *more):
        words = [sys.executable, "-m", *command.split(), *more]
        return subprocess.run(words, cwd=tmp_path, env=env, capture_output=True, text=True)

    for command in commands:
        done = run(command)
        assert done.returncode == 0, done.stderr
    results = json.loads((tmp_path / "runs/mine/results.json").read_text())
    assert results["method"] == "my_method"
    assert "full" in results["tasks"]["rec"]
    judge = "launch.main --workdir=runs/mine --mode=evaluate"
    alone = run(judge)
    assert alone.returncode == 2
    assert "'my_method:METHOD' is unknown; " in alone.stderr
    assert run(judge, "--config=config.py", "--config.train.learning_rate=0.01").returncode == 0
    again = run(commands[1], "--config.net.width=0")
    assert again.stderr.startswith("error: config.net.width = 0: give a whole number of at least 1")
    file = tmp_path / "my_method/task.py"
    file.write_text(file.read_text().replace("[items].T\n", "[items].T[:, :1]\n"))
    broken = run(commands[1].replace("runs/mine", "runs/broken"))
    assert broken.returncode == 2
    assert broken.stderr.splitlines()[-1] == (
        "error: method my_method, score_catalogue: gives float32 [8, 1]; give float32 [8, 33]"
    )
    assert not (tmp_path / "runs/broken").exists()
