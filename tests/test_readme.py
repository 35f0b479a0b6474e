"""The documents tell the truth: their commands are known, their links lead somewhere."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import pytest

from common.runs.methods import PLACES, find_method
from common.settings.pages import format_page
from launch import audit, bench, compare, prepare, settings, soak, study, sweep
from launch import main as train_command
from launch.config import take_config

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
COMMANDS = {
    "main": train_command,
    "prepare": prepare,
    "settings": settings,
    "audit": audit,
    "bench": bench,
    "compare": compare,
    "study": study,
    "soak": soak,
    "sweep": sweep,
}


def commands_of(text):
    """Every `python -m launch...` of a text, as words."""
    for found in re.findall(r"python -m (launch\.[^`\n]+)", text):
        words = shlex.split(found.split("  #")[0])
        yield words[0].removeprefix("launch."), [w for w in words[1:] if w != "..."]


ALL = [(page.name, name, words) for page in PAGES for name, words in commands_of(page.read_text())]
CONFIGS = sorted(ROOT.glob("*_jax/configs/*.py"))
ALL += [(c.name, name, words) for c in CONFIGS for name, words in commands_of(c.read_text())]


@pytest.mark.parametrize(("page", "name", "words"), ALL, ids=lambda value: str(value)[:60])
def test_commands_are_known(page, name, words, monkeypatch, capsys):
    """The command exists, and so do its config files, config keys and flags."""
    monkeypatch.chdir(ROOT)
    command = COMMANDS[name]
    if name == "bench":
        assert words[0] in {*bench.SUBJECTS, "--all", "device"}
        return
    configs = {word for word in words if word.startswith("--config=")}
    if configs - {"--config=...", "--config=config.py"}:  # test_add_a_method.py makes the latter
        take_config(words)
    if name == "study":
        assert words[0] in study.STUDIES
    with pytest.raises(SystemExit):
        command.main(["--help"])
    help_text = capsys.readouterr().out
    for word in words:
        if word.startswith("--") and not word.startswith("--config"):
            flag = word[2:].partition("=")[0]
            assert re.search(rf"--(\[no\])?{flag}\b", help_text), f"{page}: no flag --{flag}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
        if not target.startswith("http"):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_files_that_the_readme_names_exist():
    for name in re.findall(
        r"`((?:common|lcr_jax|launch)/[\w/]+\.py)`", (ROOT / "README.md").read_text()
    ):
        assert (ROOT / name).is_file(), name


def test_make_demo_runs_prepare_audit_and_main():
    plan = subprocess.run(
        ["make", "-n", "demo", "PRESET=tiny"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    order = [plan.index(f"launch.{name}") for name in ("prepare", "audit", "main")]
    assert order == sorted(order)
    assert "lcr_jax/configs/tiny.py" in plan


def test_the_page_of_settings_is_that_of_the_code():
    page = format_page({name: find_method(name).settings for name in PLACES})
    assert (ROOT / "docs/settings.md").read_text() == page, "python -m launch.settings writes it"


def test_the_page_of_the_audit_explains_every_code():
    """A code has a row of a table, or a section; and what has one is a code that is given."""
    code = r"\b[FL]\d+\b"
    sources = (path.read_text() for path in (ROOT / "common/data").glob("*.py"))
    given = {found for source in sources for found in re.findall(code, source)}
    page = (ROOT / "docs/audit.md").read_text()
    heads = re.findall(r"^(?:### |\| )((?:[FL]\d+(?:, )?)+)(?::| \|)", page, re.M)
    assert set(re.findall(code, " ".join(heads))) == given
