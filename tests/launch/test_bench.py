"""The bench command: what it prints, and that it can be told a folder. Speed is not asserted."""

import json
import re
import subprocess
import sys

import pytest

from common.data.folder import PrepareSettings, write_dataset
from common.data.readers.synthetic import generate
from launch import bench
from launch.command import run_command

QUICK = ["--batches=2", "--blocks=5", "--batch=16", "--history=5"]


def _run(argv, capsys):
    code = run_command(bench.main, argv)
    printed = capsys.readouterr()
    return code, printed.out.splitlines(), printed.err


def _assert_rates(line, name):
    found = re.fullmatch(
        rf"{name}: +([\d,]+) examples/s, min ([\d,]+), max ([\d,]+) \(5 blocks of 2 batches\)", line
    )
    assert found, line
    median, least, most = (int(number.replace(",", "")) for number in found.groups())
    assert 0 < least <= median <= most


def test_a_synthetic_preset(tmp_path, capsys):
    out = tmp_path / "data.json"
    code, lines, error = _run(["data", "--preset=tiny", *QUICK, f"--out={out}"], capsys)
    assert (code, error) == (0, "")
    assert re.match(r"machine: .+, \d+ of \d+ cores, Python 3\.\d+", lines[0])
    assert re.match(r"data: tiny, [\d,]+ rec targets, history 5 \+ 5, 4 negatives, batch", lines[1])
    _assert_rates(lines[2], "source")
    _assert_rates(lines[3], "grain")
    found = re.fullmatch(
        r"trainer: +[\d,]+ examples/s \(LCR\), ([\d.]+)% of its time waiting for data", lines[4]
    )
    assert found, lines[4]
    assert 0 < float(found[1]) < 100
    report = json.loads(out.read_text())
    median = report["examples_per_second"]["source"]["median"]
    assert f"{median:,.0f} examples/s" in lines[2]
    assert report["summary"]["source examples/s"] == median
    assert report["trainer"]["wait_share"] == pytest.approx(float(found[1]) / 100, abs=1e-4)


def test_a_folder(tmp_path, capsys):
    write_dataset(tmp_path / "mine", generate("tiny", seed=1), PrepareSettings(negatives=20))
    argv = ["data", f"--data={tmp_path / 'mine'}", "--task=search", "--notrain", *QUICK]
    code, lines, _ = _run(argv, capsys)
    assert code == 0
    assert " search targets" in lines[1]


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ([], "subject '': unknown; use one of data, lcr"),
        (["speed"], "subject 'speed': unknown"),
        (["data", "--blocks=2"], "blocks"),
        (["data", "--data=/nowhere"], "no such folder"),
        (["data", "--preset=huge"], "huge"),
    ],
)
def test_bad_input(capsys, argv, message):
    code, _, error = _run(argv, capsys)
    assert code == 2
    assert error.startswith("error: ")
    assert message in error


def test_help_is_instant():
    code = (
        "import sys\nfrom launch.bench import main\nmain(['--help'])\n"
        "sys.exit('numpy' in sys.modules or 'jax' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert "subjects: data, lcr" in done.stdout
