"""The platform that programs are made for."""

import jax
import pytest

from common.platform import find_platform, made_for


def test_is_the_one_at_hand_unless_another_is_asked_for() -> None:
    assert find_platform() == jax.default_backend()
    with made_for("gpu"):
        with made_for("tpu"):
            assert find_platform() == "tpu"
        assert find_platform() == "gpu"
    assert find_platform() == jax.default_backend()


def test_is_put_back_after_an_error() -> None:
    with pytest.raises(ZeroDivisionError), made_for("tpu"):
        raise ZeroDivisionError
    assert find_platform() == jax.default_backend()
