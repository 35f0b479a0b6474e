"""Configuration at the edge: overrides, misspelt keys, and workdirs of other runs."""

from __future__ import annotations

import json

import pytest
from ml_collections import ConfigDict

from common.errors import InputError
from launch.config import check_workdir, claim_workdir, override, take_config

FILE = """
from ml_collections import ConfigDict

def get_config(arg=""):
    config = ConfigDict()
    config.seed = 0
    config.name = arg
    config.train = ConfigDict()
    config.train.learning_rate = 0.1
    config.train.history_length = 20
    config.train.early = True
    config.train.sizes = (1, 2)
    return config
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "config.py"
    path.write_text(FILE)
    return path


def test_overrides_keep_the_type_of_the_default(file):
    config, rest = take_config(
        [
            f"--config={file}:small",
            "--config.train.learning_rate=1",
            "--config.train.early=false",
            "--config.train.sizes=(3,4,5)",
            "--config.seed",
            "7",
            "--workdir=x",
        ]
    )
    assert rest == ["--workdir=x"]
    assert config.name == "small"
    assert config.train.to_dict() == {
        "learning_rate": 1.0,
        "history_length": 20,
        "early": False,
        "sizes": (3, 4, 5),
    }
    assert isinstance(config.train.learning_rate, float)
    assert config.seed == 7


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("train.histroy_length", "3", "did you mean config.train.history_length"),
        ("learning_rate", "3", "did you mean config.train.learning_rate"),
        ("zzz", "3", "no such key; see the config file"),
        ("train.learning_rate", "fast", "config.train.learning_rate=fast: not a float"),
        ("train.early", "maybe", "config.train.early=maybe: not a bool"),
        ("train", "3", "config.train: no such key"),
    ],
)
def test_a_bad_override_is_named(file, key, value, message):
    config, _ = take_config([f"--config={file}"])
    with pytest.raises(InputError, match=message) as error:
        override(config, key, value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ([], "--config: missing"),
        (["--config=lcr_jax/configs/beautty.py"], "no such file; did you mean lcr_jax/configs/be"),
    ],
)
def test_a_missing_config_file_is_named(argv, message):
    with pytest.raises(InputError, match=message):
        take_config(argv)


def test_a_file_without_get_config_is_named(tmp_path):
    (tmp_path / "empty.py").write_text("x = 1\n")
    with pytest.raises(InputError, match="has no function get_config"):
        take_config([f"--config={tmp_path / 'empty.py'}"])


def make_config(rate=0.1, path="a"):
    return ConfigDict(
        {"seed": 0, "data": {"path": path}, "train": {"learning_rate": rate, "sizes": (1, 2)}}
    )


def test_a_workdir_takes_the_same_run_again(tmp_path):
    claim_workdir(tmp_path / "run", make_config(), "abc")
    before = (tmp_path / "run" / "config.json").read_text()
    claim_workdir(tmp_path / "run", make_config(path="moved"), "abc")
    assert (tmp_path / "run" / "config.json").read_text() == before
    assert json.loads(before)["config"]["train"]["learning_rate"] == 0.1


def test_a_run_from_before_a_key_of_the_machine_goes_on(tmp_path):
    claim_workdir(tmp_path, make_config(), "abc")
    newer = make_config()
    newer.accumulate = 1
    assert check_workdir(tmp_path, newer, "abc")
    newer.accumulate = 2
    with pytest.raises(InputError, match=r"config\.accumulate is 1 there and 2 here"):
        check_workdir(tmp_path, newer, "abc")


def test_a_workdir_of_another_run_is_refused_with_every_difference(tmp_path):
    claim_workdir(tmp_path, make_config(), "abc")
    before = (tmp_path / "config.json").read_text()
    with pytest.raises(InputError) as error:
        claim_workdir(tmp_path, make_config(rate=0.2), "def")
    assert "config.train.learning_rate is 0.1 there and 0.2 here" in str(error.value)
    assert "the dataset is abc there and def here" in str(error.value)
    assert (tmp_path / "config.json").read_text() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.json"]


def test_an_unreadable_workdir_is_refused(tmp_path):
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(InputError, match=r"config\.json: is no JSON .*; use another --workdir"):
        claim_workdir(tmp_path, make_config(), "abc")
