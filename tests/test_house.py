"""The house rules that code can check: who may import whom, and what may not be in it."""

from __future__ import annotations

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
METHODS = ("lcr_jax", "gensr_jax", "baselines_jax")
SOURCES = sorted(
    path for room in ("common", "launch", *METHODS) for path in (ROOT / room).rglob("*.py")
)
# launch -> methods -> common; inside common, training and ranking know data; data knows neither.
MAY_IMPORT = {
    "launch": {"launch", "common", *METHODS},
    **{method: {method, "common"} for method in METHODS},
    "common.training": {"common"},
    "common.ranking": {"common"},
    "common.nn": {"common.nn", "common.errors", "common.platform"},
    "common.report": {"common.report", "common.errors", "common.printable"},
    "common.settings": {
        "common.settings",
        "common.errors",
        "common.json_files",
        "common.printable",
    },
    "common.runs": {"common"},
    "common.data": {
        "common.bounds",
        "common.data",
        "common.errors",
        "common.json_files",
        "common.locks",
        "common.npy_files",
        "common.printable",
    },
    "common": {"common"},
}
FORBIDDEN = {
    "common.training": ("common.ranking", "common.data.readers", "common.nn", "common.runs"),
    "common.ranking": ("common.data.readers", "common.nn", "common.runs"),
}


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


def imports_of(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
    rooms = ("common", "launch", *METHODS)
    return {name for name in names if name.split(".")[0] in rooms}


def within(name: str, room: str) -> bool:
    return name == room or name.startswith(room + ".")


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_imports_run_one_way(path):
    name = name_of(path)
    room = max((r for r in MAY_IMPORT if within(name, r)), key=len)
    for imported in imports_of(path):
        assert any(within(imported, ok) for ok in MAY_IMPORT[room]), f"{name} imports {imported}"
        for bad in FORBIDDEN.get(room, ()):
            assert not within(imported, bad), f"{name} imports {imported}"


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_nothing_is_evaluated_from_text(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id not in ("eval", "exec"), f"{path.name}, line {node.lineno}"
        if isinstance(node, ast.Import):
            assert all(alias.name != "pickle" for alias in node.names), path.name


def test_only_the_generator_and_the_evidence_figures_know_the_truth():
    readers = {name_of(path) for path in SOURCES if '"truth"' in path.read_text()}
    assert readers <= {
        "common.data.event_tables",
        "common.data.folder",
        "common.ranking.evidence",
        "common.data.options",  # both have it as a flag
        "launch.prepare",
        "common.runs.judging",  # asks whether there is any
        *(name_of(path) for path in (ROOT / "common/data/readers").glob("synthetic*.py")),
    }


def test_configs_stop_at_the_edge():
    """ConfigDict lives in configs/ and launch/ only; inside there are frozen dataclasses."""
    for path in SOURCES:
        edge = "configs" in path.parts or path.is_relative_to(ROOT / "launch")
        edge |= name_of(path) == "common.runs.config_file"  # it runs config files
        assert edge or "ml_collections" not in path.read_text(), path


def test_files_hold_one_subject():
    long = {name_of(p): n for p in SOURCES if (n := len(p.read_text().splitlines())) > 330}
    assert not long
    assert not [p for p in SOURCES if p.stem in ("utils", "misc", "helpers")]


def test_no_files_import_each_other_in_a_circle():
    """Imports inside functions count too: they only hide a circle."""
    files = {name_of(path).removesuffix(".__init__"): path for path in SOURCES}
    graph: dict[str, set[str]] = {name: set() for name in files}
    for name, path in files.items():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                graph[name] |= {alias.name for alias in node.names} & files.keys()
            elif isinstance(node, ast.ImportFrom) and node.module in files:
                parts = {f"{node.module}.{alias.name}" for alias in node.names}
                graph[name] |= parts & files.keys() or {node.module}
    list(TopologicalSorter(graph).static_order())  # CycleError names the circle


def test_tests_stand_where_their_code_does():
    """A test of lcr_jax/losses.py is in tests/lcr_jax, and a folder of the code has tests."""
    tests = ROOT / "tests"
    apart = {tests / "golden", tests / "fuzz"}  # stored numbers, and what goes through all readers
    folders = {path.parent for path in tests.rglob("test_*.py")} - apart
    assert {
        folder for folder in folders if not (ROOT / folder.relative_to(tests)).is_dir()
    } == set()
    # Configs are tried by the tests of their method, LCR's studies by those of the command.
    rooms = {path.parent for path in SOURCES if path.parent.name not in ("configs", "studies")}
    assert {room for room in rooms if tests / room.relative_to(ROOT) not in folders} == set()
