"""Files of the project that no command reads here: they parse, and what they name is there."""

from __future__ import annotations

import configparser
import re
import shlex
from pathlib import Path

import pytest
import yaml

from launch.snr import COMMANDS

ROOT = Path(__file__).resolve().parents[1]
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))
FORMS = sorted((ROOT / ".github/ISSUE_TEMPLATE").glob("*.yml"))
YAML = [*WORKFLOWS, *FORMS, ROOT / ".pre-commit-config.yaml", ROOT / "mkdocs.yml",
        ROOT / "CITATION.cff"]  # fmt: skip
TARGETS = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.M))


def read(path):
    return yaml.safe_load((ROOT / path).read_text())


def setup():
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg")
    return parser


@pytest.mark.parametrize("path", YAML, ids=lambda path: path.name)
def test_it_parses(path):
    assert isinstance(read(path), dict)


def steps_of(path):
    """Every step of a workflow, with the name of its job."""
    for name, job in read(path)["jobs"].items():
        assert job["timeout-minutes"] <= 120, f"{name}: hangs for hours"
        yield from ((name, step) for step in job["steps"])


def lines_of(path):
    for name, step in steps_of(path):
        for line in step.get("run", "").splitlines():
            yield name, shlex.split(line)


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_the_commands_of_a_workflow_exist(path):
    known = 0
    for job, words in lines_of(path):
        if words[0] == "make":
            assert set(words[1:]) <= TARGETS, f"{job}: {words}"
        elif words[0] == "snr":
            assert words[1] in COMMANDS, f"{job}: {words}"
        else:
            continue
        known += 1
        for word in words:
            if word.startswith("--config="):
                assert (ROOT / word.partition("=")[2]).is_file(), f"{job}: {word}"
    assert known >= 5


def test_the_workflow_tests_all_that_setup_cfg_allows():
    """Every Python of the classifiers, the oldest versions, and every minor version of jax."""
    jobs = read(".github/workflows/test.yml")["jobs"]
    matrix = jobs["tests"]["strategy"]["matrix"]["include"]
    classifiers = re.findall(r":: Python :: (3\.\d+)$", setup()["metadata"]["classifiers"], re.M)
    assert [entry["python"] for entry in matrix] == classifiers
    assert all(isinstance(entry["python"], str) for entry in matrix)  # 3.10 is not 3.1
    for entry in matrix:
        if not entry["versions"].startswith("jax=="):
            assert (ROOT / entry["versions"]).is_file()
    low, high = re.search(
        r"^jax>=0\.(\d+)\.0,<0\.(\d+)$", setup()["options"]["install_requires"], re.M
    ).groups()
    oldest = re.search(r"^jax==0\.(\d+)\.", (ROOT / "lowest.txt").read_text(), re.M)[1]
    newer = [entry["versions"] for entry in matrix[1:]]
    assert oldest == low
    assert newer == [f"jax==0.{minor}.*" for minor in range(int(low) + 1, int(high))]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_a_workflow_may_only_read_and_names_versions(path):
    workflow = read(path)
    assert workflow["permissions"] == {"contents": "read"}
    assert workflow["concurrency"]["cancel-in-progress"] is True
    for _, step in steps_of(path):
        assert re.fullmatch(r"actions/[a-z-]+@v\d+", step.get("uses", "actions/none@v1"))


def test_hooks_run_what_make_runs():
    [repository] = read(".pre-commit-config.yaml")["repos"]
    hooks = {hook["id"]: hook for hook in repository["hooks"]}
    makefile = (ROOT / "Makefile").read_text()
    for name in ("ruff-check", "ruff-format", "mypy"):
        tool = hooks[name]["entry"].removeprefix(".venv/bin/")
        assert f"\t$(BIN)/{tool}\n" in makefile, tool
    assert {"end-of-file-fixer", "trailing-whitespace"} <= hooks.keys()


def test_the_citation_is_of_this_version():
    citation = read("CITATION.cff")
    metadata = setup()["metadata"]
    assert citation["cff-version"] == "1.2.0"
    assert (citation["version"], citation["license"]) == (metadata["version"], metadata["license"])
    cited = {entry["url"] for entry in citation["references"]}
    assert cited == set(
        re.findall(r"https://arxiv\.org/abs/[\d.]+", (ROOT / "README.md").read_text())
    )
    for entry in (citation, *citation["references"]):
        assert {"title", "type", "authors"} <= entry.keys()


def test_the_changelog_knows_what_is_released():
    text = (ROOT / "CHANGELOG.md").read_text()
    heads = re.findall(r"^## \[(.+?)\](?: - \d{4}-\d\d-\d\d)?$", text, re.M)
    assert heads[0] == "Unreleased"
    version = setup()["metadata"]["version"]
    assert version in heads[1:] or f"what {version} will hold" in text
    kinds = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
    assert set(re.findall(r"^### (.+)$", text, re.M)) <= kinds


@pytest.mark.parametrize("path", FORMS, ids=lambda path: path.name)
def test_an_issue_form_is_one_that_github_takes(path):
    form = read(path)
    assert {"name", "description", "body"} <= form.keys()
    for field in form["body"]:
        assert field["type"] in ("markdown", "textarea", "input", "dropdown", "checkboxes")
        assert ("value" if field["type"] == "markdown" else "label") in field["attributes"]
    ids = [field["id"] for field in form["body"] if field["type"] != "markdown"]
    assert len(ids) == len(set(ids))


PAGES = ["CONTRIBUTING.md", "CHANGELOG.md", ".github/pull_request_template.md",
         *(path.relative_to(ROOT).as_posix() for path in FORMS)]  # fmt: skip


@pytest.mark.parametrize("page", PAGES)
def test_what_a_page_names_is_there(page):
    """Links, files and folders in code marks, make targets, `snr` commands."""
    text = (ROOT / page).read_text()
    for target in re.findall(r"\]\(([^)#:]+)\)", text):
        assert (ROOT / page).parent.joinpath(target).exists(), target
    for name in re.findall(r"`([\w.]+/[\w./-]+|\w+\.(?:txt|cfg|toml))`", text):
        there = (ROOT / name).exists() or name in (
            "site/",
            "configs/base.py",
            "configs/",
            "launch/",
        )
        assert there, name
    for words in re.findall(r"`make ([a-z ]+)", text):
        assert set(words.split()) <= TARGETS, words
    for name in re.findall(r"`snr ([a-z]+)", text):
        assert name in COMMANDS, name


def test_what_makes_the_wheel_and_the_site_is_an_extra():
    extras = setup()["options.extras_require"]
    assert "mkdocs" in extras["docs"]
    assert re.search(r"setuptools>=70\.1\b", extras["test"])  # from here on it makes wheels itself
