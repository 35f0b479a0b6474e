"""launch.sweep: which runs it makes, what it skips, and when it stops."""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path

import pytest

from common.data.fingerprint import describe_folder
from common.data.folder import PrepareSettings, write_dataset
from common.data.loading import read_manifest
from common.data.readers.synthetic import generate
from common.errors import InputError
from common.runs.folder import claim_workdir
from common.runs.methods import settle
from common.settings.roles import describe_evaluation
from launch import sweep
from launch.command import run_command
from launch.config import take_config
from launch.snr import child_words

ROOT = Path(__file__).resolve().parents[2]
KNN = str(ROOT / "baselines_jax/configs/item_knn_demo.py")


def plan(given=("--config=F",), args=(), settings=(), seeds=("0",)):
    points = sweep.plan_points(given, Path("runs/x"), args, settings, seeds)
    return [(str(point.workdir), point.words) for point in points]


def test_points_are_all_combinations_seeds_fastest():
    points = plan(settings=["reasoner.steps=0,3", "config.seed2=7"], seeds=["0", "1"])
    assert [folder for folder, _ in points] == [
        "runs/x/reasoner.steps=0/seed2=7/seed0",
        "runs/x/reasoner.steps=0/seed2=7/seed1",
        "runs/x/reasoner.steps=3/seed2=7/seed0",
        "runs/x/reasoner.steps=3/seed2=7/seed1",
    ]
    assert points[3][1] == [
        "--config=F",
        "--config.reasoner.steps=3",
        "--config.seed2=7",
        "--config.seed=1",
    ]
    assert plan() == [("runs/x/seed0", ["--config=F", "--config.seed=0"])]


def test_config_arguments_join_the_one_that_is_there():
    given = ["--config=F:k1", "--config.second.start=runs/lcr/seed{seed}"]
    points = plan(given, args=["plain", "no_gate"], seeds=["4"])
    assert points == [
        (
            "runs/x/plain/seed4",
            ["--config=F:k1", "--config.second.start=runs/lcr/seed4", "--config.seed=4"],
        ),
        (
            "runs/x/no_gate/seed4",
            ["--config=F:k1+no_gate", "--config.second.start=runs/lcr/seed4", "--config.seed=4"],
        ),
    ]
    assert plan(args=["no_gate"])[0][1][0] == "--config=F:no_gate"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seeds": ["0", "one"]}, "--seeds=0,one: 'one' is no seed"),
        ({"seeds": []}, "--seeds: names none"),
        ({"seeds": ["0", "00"]}, "--seeds: 0 comes twice; name it once"),
        ({"args": ["plain", "plain"]}, "--args: plain comes twice"),
        ({"settings": ["a.b=1,1"]}, "--set=a.b=1,1: 1 comes twice"),
        ({"settings": ["a.b=1", "a.b=2"]}, "--set=a.b=2: a.b was set before"),
        ({"settings": ["reasoner.steps"]}, "--set=reasoner.steps: not of the form"),
        ({"settings": ["reasoner.steps="]}, "--set=reasoner.steps=: not of the form"),
    ],
)
def test_bad_axes_are_named(change, message):
    with pytest.raises(InputError, match=message):
        plan(**change)


@pytest.fixture
def call(tiny, tmp_path, capsys, monkeypatch):
    """call(*words, codes) -> exit code, stdout, stderr, commands; the runs are only pretended."""

    def run(*words, codes=()):
        commands, codes = [], list(codes)

        def pretend(command):
            commands.append(command)
            workdir = Path(command[-1].partition("=")[2])
            code = codes.pop(0) if codes else 0
            words = [w for w in command if w.startswith("--config")]
            config = settle(take_config(words)[0])
            data = describe_folder(read_manifest(Path(config.data.path)), config.data.split)
            claim_workdir(workdir, config, data)
            if not code:
                told = {"evaluated_on": data, "evaluation": describe_evaluation(config)}
                if config.seed:  # as of a method that is trained
                    told["model"] = {"validation": {"rec/full/MRR": config.seed / 8}}
                (workdir / "results.json").write_text(json.dumps(told))
            return code

        monkeypatch.setattr(sweep, "run_point", pretend)
        capsys.readouterr()
        words = [f"--config={KNN}", f"--workdir={tmp_path / 'runs'}", *words]
        if not any(word.startswith("--config.data.path") for word in words):
            words.append(f"--config.data.path={tiny}")
        code = run_command(sweep.main, words)
        return code, *capsys.readouterr(), commands

    return run


def test_finished_points_are_skipped_and_all_workdirs_listed(call, tmp_path):
    code, out, _, commands = call("--seeds=0,1")
    places = [tmp_path / "runs" / f"seed{seed}" for seed in range(3)]
    assert [command[-1] for command in commands] == [f"--workdir={path}" for path in places[:2]]
    code, out, err, commands = call("--seeds=0,1,2")
    assert (code, len(commands)) == (0, 1)
    assert out.splitlines() == [  # best on validation rows first
        f"rec/full/MRR 0.2500  {places[2]}",
        f"rec/full/MRR 0.1250  {places[1]}",
        f"-                    {places[0]}",
    ]
    assert err.count("finished already") == 2
    assert "-: no validation figure, as nothing is trained" in err


def test_a_point_judged_on_other_lists_is_judged_again(call, tmp_path):
    """On another split of the same tables it is another run."""
    source = generate("tiny", seed=0)
    write_dataset(tmp_path / "lists", source, PrepareSettings(negatives=5))
    write_dataset(tmp_path / "cuts", source, PrepareSettings(max_cut_share=0.9))
    assert call()[0] == 0
    code, _, _, commands = call(f"--config.data.path={tmp_path / 'lists'}")
    assert (code, len(commands)) == (0, 1)
    code, _, err, commands = call(f"--config.data.path={tmp_path / 'cuts'}")
    assert (code, commands) == (2, [])
    assert "holds another run: the split leave_one_out_joint is " in err


def test_a_failing_point_stops_the_sweep(call, tmp_path):
    code, out, err, commands = call("--seeds=0,1,2", codes=[0, 143])
    assert (code, out, len(commands)) == (143, "", 2)
    assert f"stopped: {tmp_path / 'runs/seed1'} ended with exit code 143" in err
    code, _, _, commands = call("--seeds=0,1,2")  # the same command goes on where it stopped
    assert (code, len(commands)) == (0, 2)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--set=knn.windw=1,2"], "did you mean config.knn.window?"),
        (
            ["--set=knn.window=1,two"],
            "config.knn.window = 'two': give a whole number",
        ),
        (["--args=no_gate"], "item_knn has none; leave it out"),
        (["--config.data.path=nowhere"], "nowhere: no such folder"),
        (["--config.data.path="], "config.data.path: missing; give a folder"),
        (["--seed=0"], "--help lists the flags"),
    ],
)
def test_bad_input_is_known_before_anything_runs(call, words, message):
    code, _, err, commands = call(*words)
    assert (code, commands) == (2, [])
    assert message in err


def test_a_workdir_of_another_run_is_refused(call):
    assert call("--seeds=0")[0] == 0
    code, _, err, commands = call("--seeds=0,1", "--config.knn.decay=0.5")
    assert (code, commands) == (2, [])
    assert "config.knn.decay is 1.0 there and 0.5 here" in err


def test_each_point_is_a_run_of_launch_main(tiny, tmp_path, capfd):
    words = [f"--config={KNN}", f"--config.data.path={tiny}", f"--workdir={tmp_path}"]
    words += ["--set=knn.window=1,2", "--notensorboard"]
    assert run_command(sweep.main, words) == 0
    out, err = capfd.readouterr()
    assert err.endswith("-: no validation figure, as nothing is trained\n")
    for window in (1, 2):
        workdir = tmp_path / f"knn.window={window}/seed0"
        assert json.loads((workdir / "results.json").read_text())["method"] == "item_knn"
        assert out.rstrip().splitlines()[window - 3] == f"-  {workdir}"


def test_a_signal_is_passed_on_and_the_exit_code_kept(monkeypatch):
    """The child saves when it is told to stop; the sweep waits for it."""
    program = (
        "import os, signal, sys, time\n"
        "signal.signal(signal.SIGINT, lambda *_: sys.exit(130))\n"
        "os.kill(os.getppid(), signal.SIGINT)\n"
        "time.sleep(30)\n"
    )
    started = sweep.subprocess.Popen

    def start(command, **options):
        assert command == child_words("main", ["--config=F"])
        return started([sys.executable, "-c", program], **options)

    monkeypatch.setattr(sweep.subprocess, "Popen", start)
    before = signal.getsignal(signal.SIGINT)
    assert sweep.run_point(["--config=F"]) == 130
    assert signal.getsignal(signal.SIGINT) is before
