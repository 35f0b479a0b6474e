"""Configuration at the edge: overrides and misspelt keys."""

from __future__ import annotations

import pytest
from ml_collections import ConfigDict

from common.errors import InputError
from launch.config import override, split_config, take_config

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


def test_a_configuration_may_take_the_place_of_the_file():
    words = split_config(["--config.train.rate=0.5", "--workdir=x", "--config.sizes=3,4"])
    assert (words.file, words.rest) == (None, ["--workdir=x"])
    saved = ConfigDict({"sizes": [1, 2], "train": {"rate": 1.0}})
    assert words.make(saved).to_dict() == {"sizes": [3, 4], "train": {"rate": 0.5}}
    with pytest.raises(InputError, match="--config: missing"):
        words.make()
