"""Configuration at the edge: overrides and misspelt keys."""

from __future__ import annotations

import pytest

from common.configs.making import make_config
from common.errors import InputError
from launch.config import override, split_config, take_config
from lcr_jax.settings import Settings

TINY = "--config=lcr_jax/configs/tiny.py"


def test_overrides_take_the_kind_of_their_key():
    config, rest = take_config(
        [
            f"{TINY}:no_gate",
            "--config.train.learning_rate=1",
            "--config.model.user=TRUE",
            "--config.second.start=runs/a=b",
            "--config.seed",
            "7",
            "--workdir=x",
        ]
    )
    assert rest == ["--workdir=x"]
    assert not config.reasoner.gate
    assert (config.model.user, config.second.start, config.seed) == (True, "runs/a=b", 7)
    assert config.train.learning_rate == 1.0
    assert isinstance(config.train.learning_rate, float)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("train.batchsize", "3", "did you mean config.train.batch_size"),
        ("learning_rate", "3", "did you mean config.train.learning_rate"),
        ("zzz", "3", "no such key; --help_config lists the keys"),
        ("train.learning_rate", "fast", "learning_rate = 'fast': give a number above 0"),
        ("train.learning_rate", "nan", "learning_rate = nan: give a number above 0"),
        ("model.user", "maybe", "config.model.user = 'maybe': give true or false"),
        ("model.dropout", "1.5", "model.dropout = 1.5: give a number of at least 0 and below"),
        ("model.encoder", "both", "= 'both': give one of merged, grounded, dual"),
        ("model.heads", "2.5", "config.model.heads = '2.5': give a whole number of at least 1"),
        ("train", "3", "config.train: is a group; give config.train.eval_every_epochs=..."),
        ("t5.size", "mini", "config.t5.size: no such key; it is a key of gensr, the method is lcr"),
    ],
)  # fmt: skip
def test_a_bad_override_is_named(key, value, message):
    config, _ = take_config([TINY])
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
    words = split_config(["--config.train.learning_rate=0.5", "--workdir=x", "--config.seed=3"])
    assert (words.file, words.rest) == (None, ["--workdir=x"])
    made = words.make(make_config(Settings()))
    assert (made.seed, made.train.learning_rate, made.train.epochs) == (3, 0.5, 100)
    with pytest.raises(InputError, match="--config: missing"):
        words.make()
