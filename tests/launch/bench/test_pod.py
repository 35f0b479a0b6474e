"""What the chips of a TPU slice hold and exchange in a step: compiled here, in processes of their
own. A bound that is not reached yet stands as what holds today, and says so."""

from __future__ import annotations

import importlib.util
import json
from collections import Counter
from typing import NamedTuple

import pytest

from launch import bench
from launch.command import run_command

installed = importlib.util.find_spec("libtpu") is not None
needs_libtpu = pytest.mark.skipif(not installed, reason="libtpu is not here: the extra pod")


class Bound(NamedTuple):
    """Of one stage."""

    exchanges: int  # beside all-reduces; wanted: 12
    growth: float = 1.05  # of the temporary memory a chip, from 4 to 16 chips


# So few rows that the contrast's bound has to be lowered with them.
KEYS = {"lcr": ("--keys=loss.contrastive_negatives=32",)}
CONFIGS = {
    "lcr": "lcr_jax/configs/tiny.py",
    "gensr": "gensr_jax/configs/tiny.py",
    "sasrec": "baselines_jax/configs/sasrec_tiny.py",
}
BOUNDS = {
    "lcr": {"supervised": Bound(12)},
    "gensr": {"pretrain_cf": Bound(12), "tune": Bound(12)},
    "sasrec": {"supervised": Bound(12)},
}


@pytest.fixture(scope="module")
def compile_slice(run_script, tiny, tmp_path_factory):
    """compile_slice(method, topology, *words) -> {stage: figures}"""

    def run(method, topology, *words):
        out = tmp_path_factory.mktemp("pod") / "figures.json"
        done = run_script(
            "-m", "launch.bench", "pod", f"--config={CONFIGS[method]}", f"--topology={topology}",
            "--rows_per_chip=16", f"--data={tiny}", f"--out={out}", *KEYS.get(method, ()), *words,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        report = json.loads(out.read_text())
        for stage in report["stages"]:
            assert f"{stage['name']}: {stage['operations']:,} operations" in done.stdout
        return {stage["name"]: stage for stage in report["stages"]}

    return run


def add_up(stage, reduces, of="count"):
    """{line of code: sum over its exchanges}, of those that are all-reduces, or are not."""
    sums = Counter()
    for row in stage["collectives"]:
        if (row["kind"] == "all-reduce") == reduces:
            sums[row["line"]] += row[of]
    return sums


@needs_libtpu
@pytest.mark.slow
@pytest.mark.parametrize("method", CONFIGS)
def test_a_larger_slice_takes_no_more_of_each_chip(method, compile_slice):
    few, many = (compile_slice(method, topology) for topology in ("v5e:2x2", "v5e:4x4"))
    assert few.keys() == BOUNDS[method].keys()
    for name, bound in BOUNDS[method].items():
        assert add_up(few[name], reduces=True)  # gradients: it can find what it looks for
        assert add_up(many[name], reduces=False).total() <= bound.exchanges
        grown = many[name]["temporary_bytes"] / few[name]["temporary_bytes"]
        assert grown <= bound.growth
        for reduces in (False, True):
            size = add_up(few[name], reduces, "bytes")
            for line, larger in add_up(many[name], reduces, "bytes").items():
                # In proportion to the batch at most, which has four times the rows
                assert larger < 4.5 * size[line], line


@needs_libtpu
@pytest.mark.slow
def test_a_table_that_is_split_is_never_gathered(compile_slice):
    """121 items with the padding, in four parts of 31."""
    stage = compile_slice("sasrec", "v5e:2x2", "--mesh=data:1,model:4")["supervised"]
    gathered = [row["shape"] for row in stage["collectives"] if row["kind"] == "all-gather"]
    assert not [shape for shape in gathered if "[121," in shape or "[124," in shape]


@pytest.mark.skipif(installed, reason="libtpu is here")
def test_a_missing_compiler_is_told(refuse):
    assert 'libtpu, of the extra pod: pip install "snr-jax[pod]"' in refuse("pod")


@needs_libtpu
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--topology=v5e:9"], "--topology=v5e:9: no such target; use cpu, h100, or a TPU slice"),
        (["--mesh=data:2"], "--mesh=data:2: has 2 of the 4 devices of v5e:2x2; use all"),
        (["--keys=train.batchsize=3"], "config.train.batchsize: no such key"),
        (["--mesh=rows:4"], "--mesh = 'rows:4': 'rows:4' is no axis"),
        (["--config=baselines_jax/configs/item_knn_demo.py"], "trains nothing"),
    ],
)
def test_bad_input(words, message, run_script):
    done = run_script("-m", "launch.bench", "pod", "--topology=v5e:2x2", *words)
    assert done.returncode == 2
    assert message in done.stderr


def test_flags_are_told(capsys):
    with pytest.raises(SystemExit):
        run_command(bench.main, ["pod", "--help"])
    assert "--rows_per_chip: rows of a batch that a chip has" in capsys.readouterr().out
