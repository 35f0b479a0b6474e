"""Config files of people: found, run and checked, or refused with one line."""

from __future__ import annotations

import configparser
from pathlib import Path

import pytest
from setuptools import find_packages

from common.errors import InputError
from launch.config import load_config, take_config
from launch.config_file import split_argument
from launch.config_keys import BASES, base_values, check_keys

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
    assert load_config("lcr_jax/configs/demo.py:x").mine == "x"  # a file that is there goes first
    for text in ("lcr_jax/../launch/main.py", "launch/main.py", "json/decoder.py"):
        with pytest.raises(InputError, match="no such file"):
            load_config(text)


def test_all_configs_are_in_the_wheel():
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    include = setup["options.packages.find"]["include"].split()
    packed = {name.replace(".", "/") for name in find_packages(str(ROOT), include=include)}
    with_code = {
        path.parent.relative_to(ROOT).as_posix()
        for room in (*{module.split(".")[0] for module in BASES.values()}, "common", "launch")
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
        load_config(f"{file}:{arg}" if arg else str(file))
    assert "\n" not in str(error.value)
    assert str(file) in str(error.value)


def test_bytes_that_are_no_python_are_one_line(tmp_path):
    file = tmp_path / "mine.py"
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="raises SyntaxError"):
        load_config(str(file))
    with pytest.raises(InputError, match="is a folder"):
        load_config(str(tmp_path))


@pytest.mark.parametrize("head", ["", "arg", "arg=''", "*args", "arg, more=1"])
def test_get_config_may_do_without_an_argument(head, tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(f"{HEAD}def get_config({head}): return ConfigDict({{'seed': 3}})\n")
    assert load_config(str(file)).seed == 3


@pytest.mark.parametrize("method", BASES)
def test_every_key_that_is_missing_or_of_another_kind_is_named(method):
    whole = base_values(method) | {"method": method}
    for key, value in whole.items():
        if key == "method":
            continue
        config = make_config(whole)
        group, _, name = key.rpartition(".")
        place = config[group] if group else config
        del place[name]
        with pytest.raises(InputError, match=f"^config.{key}: missing; add it"):
            check_keys(config)
        place[name] = {} if isinstance(value, str) else "text"
        with pytest.raises(InputError, match=rf"^config.{key}: (is the text 'text'|missing)"):
            check_keys(config)
    check_keys(make_config(whole))


def make_config(values):
    from ml_collections import ConfigDict

    from launch.config import MACHINE

    config = ConfigDict()
    for key, value in {**values, **MACHINE}.items():
        *groups, name = key.split(".")
        place = config
        for group in groups:
            if group not in place:
                place[group] = ConfigDict()
            place = place[group]
        place[name] = value
    return config


@pytest.mark.parametrize("seed", [-1, 2**63, 10**30, 1.0, True])
def test_a_seed_that_cannot_be_is_named(seed):
    config = make_config(base_values("lcr"))
    del config["seed"]
    config.seed = seed
    with pytest.raises(InputError, match=r"^config\.seed"):
        check_keys(config)


@pytest.mark.parametrize("path", sorted(ROOT.glob("*_jax/configs/*.py")), ids=lambda p: p.stem)
def test_our_own_configs_have_all_keys(path):
    if "def get_config" in path.read_text():
        check_keys(load_config(str(path)))
