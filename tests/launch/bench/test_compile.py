"""How long programs take to compile, and how large they are: what is printed and written."""

from __future__ import annotations

import importlib.util

import pytest

from launch.bench.compiling import PROGRAMS, choose_programs


def test_a_program_of_this_machine(measure):
    report, printed = measure("compile", "--for=cpu", "--programs=lcr init")
    [program] = report["programs"]
    assert program["name"] == "lcr init"
    assert report["for"] == "cpu"
    assert program["operations"] > 0
    assert 0 < program["fusions"] <= program["compiled_instructions"]
    assert min(program[f"{part}_seconds"] for part in ("trace", "lower", "compile")) > 0
    assert f"lcr init: {program['operations']:,} operations, {program['dots']:,} dots" in printed
    assert report["summary"]["lcr init, compile s"] == program["compile_seconds"]


def test_programs_by_their_first_words():
    assert choose_programs("") == list(PROGRAMS)
    assert choose_programs("gensr-base tune, lcr") == [*PROGRAMS[:3], "gensr-base tune"]


def test_bad_input(refuse):
    assert "--for=h200: no such target; use cpu, h100, or a TPU slice" in refuse(
        "compile", "--for=h200"
    )
    assert "--programs: no program 'lcr step'; use lcr init, lcr su" in refuse(
        "compile", "--programs=lcr step"
    )


@pytest.mark.parametrize(
    ("target", "module", "message"),
    [
        ("h100", "jax_plugins", "install jax-cuda13-plugin and jax-cuda13-pjrt, of jax's extra"),
        ("v5e:4x4", "libtpu", 'install libtpu, of the extra pod: pip install "snr-jax[pod]"'),
    ],
)
def test_a_missing_compiler_is_told(target, module, message, refuse):
    if importlib.util.find_spec(module):
        pytest.skip(f"{module} is here")
    error = refuse("compile", f"--for={target}", "--programs=lcr init")
    assert error.startswith(f"error: --for={target}: the ")
    assert message in error
