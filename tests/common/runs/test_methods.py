"""The registry of methods, and the settings of each."""

from __future__ import annotations

import subprocess
import sys
import types

import pytest

from common.configs.making import make_config
from common.errors import InputError
from common.runs.methods import PLACES, find_method, find_stored, settle
from common.settings.fields import list_settings
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
    mine = types.ModuleType("mine")
    mine.METHOD = find_method("lcr")
    monkeypatch.setitem(sys.modules, "mine", mine)
    assert find_stored("mine:METHOD") == find_method("lcr")
