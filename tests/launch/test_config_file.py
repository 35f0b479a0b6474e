"""Config files of people: found, run and checked, or refused with one line."""

from __future__ import annotations

import configparser
from pathlib import Path

import pytest
from setuptools import find_packages

from common.errors import InputError
from common.runs.config_file import load_config_file, split_argument
from common.runs.methods import PLACES, settle
from launch.config import take_config

ROOT = Path(__file__).resolve().parents[2]
HEAD = "from ml_collections import ConfigDict\n"


@pytest.mark.parametrize(
    ("argument", "files", "expected"),
    [
        ("a.py", {"a.py"}, ("a.py", "")),
        ("a.py:x", {"a.py"}, ("a.py", "x")),
        ("a.py:x:y", {"a.py"}, ("a.py", "x:y")),
        ("a.py:x+y", set(), ("a.py", "x+y")),
        ("run:1/a.py", {"run:1/a.py"}, ("run:1/a.py", "")),
        ("run:1/a.py:x", {"run:1/a.py"}, ("run:1/a.py", "x")),
        ("a.py:x", {"a.py", "a.py:x"}, ("a.py:x", "")),  # the longest that is a file
        ("a[1].py:x", {"a[1].py"}, ("a[1].py", "x")),
        ("C:\\c\\a.py", {"C:\\c\\a.py"}, ("C:\\c\\a.py", "")),
        ("C:\\c\\a.py:x", {"C:\\c\\a.py"}, ("C:\\c\\a.py", "x")),
        ("C:\\c\\a.py:x", set(), ("C:\\c\\a.py", "x")),  # missing, and named whole
        ("C:/c/a.py:x", set(), ("C:/c/a.py", "x")),
        ("C:\\c\\a.py", set(), ("C:\\c\\a.py", "")),
        ("c:x", {"c"}, ("c", "x")),
        (":x", set(), ("", "x")),
        ("", set(), ("", "")),
    ],
)
def test_file_and_argument_are_told_apart(argument, files, expected):
    assert split_argument(argument, files.__contains__) == expected


def test_a_packages_own_config_is_found_from_any_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config, _ = take_config(["--config=lcr_jax/configs/demo.py:no_gate"])
    assert config.method == "lcr"
    mine = tmp_path / "lcr_jax/configs"
    mine.mkdir(parents=True)
    (mine / "demo.py").write_text(f"{HEAD}get_config = lambda arg: ConfigDict({{'mine': arg}})")
    assert (
        load_config_file("lcr_jax/configs/demo.py:x").mine == "x"
    )  # a file that is there goes first
    for text in ("lcr_jax/../launch/main.py", "launch/main.py", "json/decoder.py"):
        with pytest.raises(InputError, match="no such file"):
            load_config_file(text)


def test_all_configs_are_in_the_wheel():
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    include = setup["options.packages.find"]["include"].split()
    packed = {name.replace(".", "/") for name in find_packages(str(ROOT), include=include)}
    with_code = {
        path.parent.relative_to(ROOT).as_posix()
        for room in (
            *{place.split("_jax")[0] + "_jax" for place in PLACES.values()},
            "common",
            "launch",
        )
        for path in (ROOT / room).rglob("*.py")
    }
    assert with_code - packed == set()
    assert "gensr_jax/configs" in packed


@pytest.mark.parametrize(
    ("text", "arg", "message"),
    [
        ("x = 1 / 0", "", r"line 2: raises ZeroDivisionError \(division by zero\); mend the file"),
        ("def f(:", "", r"line 2: raises SyntaxError"),
        ("import no_such_module", "", "line 2: raises ModuleNotFoundError"),
        ("raise SystemExit(3)", "", "ends the program"),
        (
            "def get_config(arg):\n    c = ConfigDict()\n    c[5] = c.a = 3\n    return c",
            "",
            "has a key that is no text",
        ),
        (
            "def get_config(arg):\n    c = ConfigDict({'seed': 0})\n    c.seed = {}",
            "",
            r"line 4: seed = \{\} is a group of keys; give a whole number",
        ),
        (
            "def get_config(arg):\n    c = ConfigDict({'method': 'x'})\n    c.method = 5",
            "",
            "line 4: method = 5 is a whole number; give text",
        ),
        ("def get_config(arg):\n    return {}['a']", "", r"line 3: raises KeyError \('a'\)"),
        ("def get_config(arg):\n    return get_config(arg)", "", "line 3: raises RecursionError"),
        ("def get_config(arg): return 5", "", "returns int, not a ConfigDict"),
        ("def get_config(): return ConfigDict()", "x", r"takes no argument; leave out :x"),
        ("def get_config(a, b): return ConfigDict()", "", r"get_config\(a, b\) cannot be called"),
        ("get_config = 5", "", "has no function get_config"),
    ],
)
def test_a_config_file_that_fails_is_one_line(text, arg, message, tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(f"{HEAD}{text}\n")
    with pytest.raises(InputError, match=message) as error:
        load_config_file(f"{file}:{arg}" if arg else str(file))
    assert "\n" not in str(error.value)
    assert str(file) in str(error.value)


def test_bytes_that_are_no_python_are_one_line(tmp_path):
    file = tmp_path / "mine.py"
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="raises SyntaxError"):
        load_config_file(str(file))
    with pytest.raises(InputError, match="is a folder"):
        load_config_file(str(tmp_path))


@pytest.mark.parametrize("head", ["", "arg", "arg=''", "*args", "arg, more=1"])
def test_get_config_may_do_without_an_argument(head, tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(f"{HEAD}def get_config({head}): return ConfigDict({{'seed': 3}})\n")
    assert load_config_file(str(file)).seed == 3


@pytest.mark.parametrize("path", sorted(ROOT.glob("*_jax/configs/*.py")), ids=lambda p: p.stem)
def test_our_own_configs_have_all_keys(path):
    if "def get_config" in path.read_text():
        settle(load_config_file(str(path)))
