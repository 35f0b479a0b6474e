"""The bench command: its subjects, its flags, and the speed of the batch source."""

import re

import pytest

from common.data.folder import PrepareSettings, write_dataset
from common.data.readers.synthetic import generate
from launch import bench
from launch.command import run_command

QUICK = ["--batches=2", "--blocks=5", "--batch=16", "--history=5"]


def _assert_rates(printed, name):
    found = re.search(
        rf"^{name}: +([\d,]+) examples/s, min ([\d,]+), max ([\d,]+) \(5 blocks of 2 batches\)$",
        printed,
        re.M,
    )
    assert found, printed
    median, least, most = (int(number.replace(",", "")) for number in found.groups())
    assert 0 < least <= median <= most


def test_a_synthetic_preset(measure):
    report, printed = measure("data", "--preset=tiny", *QUICK)
    assert re.match(r"machine: .+, \d+ of \d+ cores, Python 3\.[\d.]+\ndevice: cpu ", printed)
    assert re.search(r"^data: tiny, [\d,]+ rec targets, history 5 \+ 5, 4 neg", printed, re.M)
    for name in ("source", "grain"):
        _assert_rates(printed, name)
    found = re.search(
        r"trainer: +[\d,]+ examples/s \(LCR\), ([\d.]+)% of its time waiting for data", printed
    )
    assert found, printed
    assert 0 < float(found[1]) < 100
    median = report["examples_per_second"]["source"]["median"]
    assert f"{median:,.0f} examples/s" in printed
    assert report["summary"]["source examples/s"] == median
    assert report["trainer"]["wait_share"] == pytest.approx(float(found[1]) / 100, abs=1e-4)
    assert report["peak_memory"]["host"] > 1e8


def test_a_folder(tmp_path, measure):
    write_dataset(tmp_path / "mine", generate("tiny", seed=1), PrepareSettings(negatives=20))
    argv = ["data", f"--data={tmp_path / 'mine'}", "--task=search", "--notrain", *QUICK]
    report, printed = measure(*argv)
    assert " search targets" in printed
    assert report["trainer"] is None


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ([], "subject '': unknown; use one of data, lcr"),
        (["speed"], "subject 'speed': unknown"),
        (["speed:METHOD"], "speed:METHOD: cannot be had"),
        (["lcrr"], "subject 'lcrr': unknown; did you mean lcr?"),
        (["item_knn"], "subject item_knn: the method has no workload, see docs/add_a_method.md"),
        (["baselines_jax:ITEM_KNN"], "the method has no workload, see docs/add_a_method.md"),
        (
            ["levers", "--config=baselines_jax/configs/item_knn_demo.py"],
            "py: trains nothing; give a",
        ),
        (["data", "--blocks=2"], "flag --blocks=2"),
        (["data", "--data=/nowhere"], "no such folder"),
        (["data", "--preset=huge"], "huge"),
        (["lcr", "--blocks=2"], "flag --blocks=2"),
        (["lcr", "--width=3"], "config.model.width = 3"),
        (["gensr", "--size=tiny"], "flag --size=tiny"),
        (["levers", "--nodata"], "nodata"),
    ],
)
def test_bad_input(refuse, argv, message):
    assert message in refuse(*argv)


def test_help_lists_subjects_and_flags(capsys):
    assert bench.main(["--help"]) == 0
    assert "subjects: data, lcr, gensr, sasrec, levers, " in capsys.readouterr().out
    with pytest.raises(SystemExit):
        run_command(bench.main, ["lcr_jax:METHOD", "--help"])
    text = capsys.readouterr().out
    for form in ("--batch: rows of a batch\n    (default: '1112')", "--blocks: timed blocks",
                 "--[no]reinforce: measure the step of stage 2 too"):  # fmt: skip
        assert form in text
