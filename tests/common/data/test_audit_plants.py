"""What only a person would see: each planted leak is found by its check, the clean twin passes."""

import importlib.util
import re
from pathlib import Path

import pytest

from common.data.audit_limits import LIMITS, find_approach
from common.data.events import PARTS, TASKS
from common.data.folder import PrepareSettings, write_dataset
from common.data.readers.synthetic import generate

SPEC = importlib.util.spec_from_file_location(
    "audit_plants", Path(__file__).with_name("audit_plants.py")
)
plants = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(plants)


def _scene(folder, **overrides):
    write_dataset(folder, generate("tiny", seed=0, **overrides), PrepareSettings(negatives=19))
    return plants.load_scene(folder)


@pytest.fixture(scope="module")
def clean(tmp_path_factory):
    """About 3,000 clicks of 300 users on 200 items."""
    return _scene(tmp_path_factory.mktemp("plants") / "data", users=300, items=200)


def test_the_clean_scene_has_nothing_to_look_at(clean):
    measures, found = plants.measure_scene(clean)
    assert found.faults == found.looks == []
    assert {(m.check, m.name) for m in measures} == set(LIMITS)
    assert max(map(find_approach, measures)) < 1
    places = {f"L17 {task}_{part}" for task in TASKS for part in PARTS}
    assert places <= {name for name, _ in found.figures}


@pytest.mark.parametrize("name", plants.PLANTS)
def test_a_planted_leak_is_found(clean, name):
    plant, check, least = plants.PLANTS[name]
    _, found = plants.measure_scene(plant(clean))
    leaks, looks = ({fault.check for fault in some} for some in (found.faults, found.looks))
    assert check in (leaks if least == "leak" else leaks | looks), found.figures


@pytest.mark.parametrize("users", [8, 20])
def test_a_handful_of_users_raises_no_alarm(tmp_path, users):
    _, found = plants.measure_scene(_scene(tmp_path / "few", users=users))
    assert found.faults == found.looks == []


def test_a_leak_names_its_rows_and_its_limits(clean):
    _, found = plants.measure_scene(plants.session_is_target(clean))
    [fault] = [f for f in found.faults if f.where == "search_test" and "is the target" in f.what]
    (row, *more), (user, *_), (item, *_) = clean.targets("search")
    assert fault.number == 1 + len(more)
    query = clean.dataset.search.query[row]
    words = clean.tables["queries"]["text"][query - 1].as_py()
    assert fault.examples[0].startswith(
        f"search row {row + 1} (user 'u{user:03}' #{user}, query {words!r} #{query}, "
        f"item 'i{item:03}' #{item}, ts_ms "
    )
    assert fault.what.startswith("session is the target 100.0 % (chance ")
    assert fault.what.endswith("look from 2 percentage points off, leak from 20")


def test_twins_are_named_as_in_the_source(clean):
    plant, *_ = plants.PLANTS["half are twins"]
    _, found = plants.measure_scene(plant(clean))
    [fault] = [f for f in found.faults if f.where == "users" and "same times" in f.what]
    assert re.search(r", as user 'u\d+' #\d+ with user (?:'u\d+' )?#\d+ and user ", fault.what)
