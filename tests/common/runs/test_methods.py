"""The registry of methods, and the settings of each."""

from __future__ import annotations

import subprocess
import sys
import types
from dataclasses import dataclass

import pytest

from common.configs.making import make_config
from common.errors import InputError
from common.runs.methods import PLACES, Method, find_method, find_stored, settle
from common.runs.tasks import build_task
from common.settings.fields import list_settings, setting
from common.settings.groups import RunSettings
from common.settings.reading import as_values


@pytest.mark.parametrize("name", PLACES)
def test_every_default_is_allowed_and_every_key_has_a_meaning(name):
    tree = find_method(name).settings
    assert settle(make_config(tree)) == tree
    for key, each in list_settings(tree).items():
        assert each.allows(each.default), key
        assert each.rule.meaning, key
        assert each.kind in (bool, int, float, str), key


@pytest.mark.parametrize("name", PLACES)
def test_every_key_that_is_missing_or_of_another_kind_is_named(name):
    tree = find_method(name).settings
    for key in list_settings(tree):
        if key == "method":
            continue
        *groups, last = key.split(".")
        values = as_values(tree)
        place = values[groups[0]] if groups else values
        kept = place.pop(last)
        if groups:
            with pytest.raises(InputError, match=f"^config.{key}: missing in the config file"):
                settle(values)
        else:  # a config file may leave out what stands in no group
            assert settle(values) == tree
        place[last] = [kept]
        with pytest.raises(InputError, match=f"^config.{key} = a list: give "):
            settle(values)


@pytest.mark.parametrize("seed", [-1, 2**63, 10**30, 0.5, True])
def test_a_seed_that_cannot_be_is_named(seed):
    with pytest.raises(InputError, match=r"^config\.seed = .*: give a whole number of at least 0"):
        settle(as_values(find_method("lcr").settings) | {"seed": seed})


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("", "config.method: missing; set it in the config file to 'lcr' or"),
        (None, "config.method: missing"),
        (5, "config.method: is the whole number 5; set it to a name, 'lcr' or"),
        ({}, "config.method: is a group; set it to a name"),
        ("lrc", "config.method: no method 'lrc'; did you mean lcr"),
        ("no_such_package:METHOD", "config.method = no_such_package:METHOD: cannot be had"),
        ("json:dumps", "config.method = json:dumps: is no Method"),
        ("json:nothing", "config.method = json:nothing: cannot be had"),
    ],
)
def test_a_method_that_there_is_not_is_named(name, message):
    with pytest.raises(InputError) as caught:
        find_method(name)
    assert str(caught.value).startswith(message)


def test_reading_a_configuration_starts_no_jax():
    code = (
        "import sys; from common.runs.methods import PLACES, find_method, find_stored, settle\n"
        "[settle(find_method(name).settings) for name in PLACES]\n"
        "from gensr_jax.configs import demo; demo.get_config('published')\n"
        "assert 'jax' not in sys.modules, 'jax'"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_file_of_a_run_does_not_say_which_code_runs(tmp_path, monkeypatch):
    (tmp_path / "stranger.py").write_text("raise SystemExit('ran')")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(InputError, match=r"'stranger:METHOD' is unknown; .* --config=FILE"):
        find_stored("stranger:METHOD")
    assert find_stored("sasrec") == find_method("sasrec")
    place_method(monkeypatch, find_method("lcr"))
    assert find_stored("mine:METHOD") == find_method("lcr")


@dataclass(frozen=True)
class Net:
    width: int = 16


@dataclass(frozen=True)
class Plain(RunSettings):
    net: Net = Net()


@dataclass(frozen=True)
class Listed(RunSettings):
    sizes: int | None = setting(None, "of layers")


def build(settings, dataset):
    return None


@pytest.mark.parametrize(
    ("method", "message"),
    [
        (Method(None, build), ", settings: is None; give a RunSettings"),
        (Method(RunSettings, build), ", settings: is a type; give a RunSettings"),
        (Method(RunSettings(), None), ", build: is None; give a function"),
        (Method(RunSettings(), lambda: None), ", build: cannot be called with 2 arguments ("),
        (Method(RunSettings(), build, explain=3), ", explain: is an int; give a function"),
        (Method(RunSettings(), build, studies=None), ", studies: is None; give a dict"),
        (
            Method(RunSettings(), build, workload=lambda size: 0),
            ", workload: cannot be called with",
        ),
    ],
)
def test_a_method_of_ones_own_with_a_field_of_another_kind_is_named(monkeypatch, method, message):
    place_method(monkeypatch, method)
    with pytest.raises(InputError) as caught:
        find_method("mine:METHOD")
    assert str(caught.value).startswith(f"config.method = mine:METHOD{message}")


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        (Plain(), "config.net.width: is a plain field of Net, so no key; make it by setting(16, "),
        (Listed(), "config.sizes: Listed annotates it with int | None; use bool, int, float, str"),
    ],
)
def test_settings_that_could_not_be_keys_are_named(monkeypatch, tree, message):
    place_method(monkeypatch, Method(tree, build))
    with pytest.raises(InputError) as caught:
        find_method("mine:METHOD")
    assert str(caught.value).startswith(message)


def test_what_a_method_builds_is_looked_at(monkeypatch):
    place_method(monkeypatch, Method(RunSettings(method="mine:METHOD"), build))
    with pytest.raises(
        InputError, match=r"^config.method = mine:METHOD, build: gives a NoneType; "
    ):
        build_task(RunSettings(method="mine:METHOD"), None)


def place_method(monkeypatch, method):
    """Makes a method `mine:METHOD`."""
    mine = types.ModuleType("mine")
    mine.METHOD = method
    monkeypatch.setitem(sys.modules, "mine", mine)
