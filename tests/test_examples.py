"""The notebooks of examples/: stored without outputs, and their code runs.

Their code cells are run as one program, in a process of its own. They use nothing that only a
kernel has, and nbclient with ipykernel would be 37 packages more, and an open port.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
# What the last lines of each tell.
TOLD = {
    "own_data": r"\(null event: nothing useful\)",
    "compare": r"\| SASRec +\| +1 \| 0\.\d{4} ",
}
NOTEBOOKS = sorted((ROOT / "examples").glob("*.ipynb"))


def sources(path, kind):
    """The text of each cell of a kind."""
    cells = json.loads(path.read_text("utf-8"))["cells"]
    return ["".join(cell["source"]) for cell in cells if cell["cell_type"] == kind]


def test_each_has_a_test():
    assert [path.stem for path in NOTEBOOKS] == sorted(TOLD)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_is_stored_without_outputs_and_says_what_it_shows(path):
    """Outputs would be of another machine and of older code, and none of them is checked."""
    notebook = json.loads(path.read_text("utf-8"))
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    assert len({cell["id"] for cell in notebook["cells"]}) == len(notebook["cells"])
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            assert (cell["outputs"], cell["execution_count"]) == ([], None)
    text = sources(path, "markdown")
    assert re.match(r"# .+\n\nThis notebook ", text[0])
    for target in re.findall(r"\]\(([^)#:]+)\)", "".join(text)):
        assert (path.parent / target).is_file(), target


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_its_code_runs(path, run_script, tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    script = tmp_path / f"{path.stem}.py"
    script.write_text("\n\n".join(sources(path, "code")))
    done = run_script(script)
    assert done.returncode == 0, done.stderr
    assert re.search(TOLD[path.stem], done.stdout), done.stdout
