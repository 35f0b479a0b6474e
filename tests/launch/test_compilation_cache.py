"""Compiled programs are kept for the compiler that made them."""

from __future__ import annotations

from pathlib import Path

import jax
import jaxlib
import pytest

from common.runs.run import use_compilation_cache


@pytest.fixture
def changed(monkeypatch):
    """What was set, by name, instead of setting it."""
    settings = {}
    monkeypatch.setattr(jax.config, "update", settings.__setitem__)
    return settings


def test_programs_are_kept_by_version_of_jaxlib(changed, monkeypatch):
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR", raising=False)
    use_compilation_cache()
    folder = Path(changed["jax_compilation_cache_dir"])
    assert folder.name == f"jaxlib-{jaxlib.__version__}"
    assert folder.is_relative_to(Path.home())
    monkeypatch.setattr(jaxlib, "__version__", "9.9.9")
    use_compilation_cache()
    assert Path(changed["jax_compilation_cache_dir"]) == folder.with_name("jaxlib-9.9.9")


def test_the_users_own_folder_is_left_alone(changed, monkeypatch):
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", "/mine")
    use_compilation_cache()
    assert not changed
