"""The studies of GenSR from end to end on the tiny preset, and its logbook by hand."""

from __future__ import annotations

import json

import numpy as np
import pytest

from common.errors import InputError
from common.runs.measures import bound_seeds
from common.runs.record import read_record
from gensr_jax.studies.query import draw_others
from launch import study
from launch.command import run_command


@pytest.fixture
def ask(tmp_path, capsys):
    """ask(study, *flags) -> (exit code, the study's JSON or None, stderr)."""

    def call(name, *flags):
        capsys.readouterr()
        code = run_command(study.main, [name, f"--out={tmp_path / 'out'}", *flags])
        out, err = capsys.readouterr()
        if code:
            return code, None, err
        assert (tmp_path / "out" / f"{name}.png").read_bytes()[1:4] == b"PNG"
        assert (tmp_path / "out" / f"{name}.md").read_text() in out
        return code, json.loads((tmp_path / "out" / f"{name}.json").read_text()), err

    return call


def make_lines(kind, **columns):
    """Lines of the stage `tune`, every 10 steps from step 100 on, where the stage before ended."""
    first = {"step": 100, "stage": "pretrain_cf", "kind": "valid", "values": {}}
    rows = zip(*columns.values(), strict=True)
    return [first] + [
        {"step": 110 + 10 * i, "stage": "tune", "kind": kind,
         "values": dict(zip(columns, row, strict=True))}
        for i, row in enumerate(rows)
    ]  # fmt: skip


def test_conflict_by_hand(write_run, ask):
    norms = {"norm_task": [3.0, 1.0], "norm_contrastive": [100.0, 100.0]}  # weight 0.01
    layers = ("encoder_2", "cf_view")

    def lines(first, second):
        cosines = {f"cosine_{layer}": [first, second] for layer in layers}
        return make_lines("probe", cosine_encoder_1=[first, -second], **cosines, **norms)

    runs = [
        write_run("GenSR", "", lines(0.4, 0.2)),
        write_run("GenSR", "", lines(0.2, 0.4), seed=1),
        write_run("twin", "twin", lines(0.1, 0.1)),
    ]
    code, results, _ = ask("conflict", f"--runs={','.join(runs)}")
    assert code == 0
    method = results["methods"]["GenSR"]
    assert method["step"] == [10, 20]
    assert set(method["layers"]) == {"encoder_1", *layers}
    entry = method["layers"]["encoder_1"]
    assert entry["curve"] == pytest.approx([0.3, -0.3])
    # Means 0.1 and -0.1: deviation 0.1414 over two seeds, 12.706 of it / sqrt(2).
    assert entry["mean"]["value"] == pytest.approx(0.0, abs=1e-12)
    assert entry["mean"]["high"] == pytest.approx(1.2706)
    assert entry["later"]["value"] == pytest.approx(-0.3)
    assert entry["negative"] == 0.5
    assert entry["deviation"] == pytest.approx(0.3)
    assert entry["random"] == pytest.approx((4 * 64 * 64) ** -0.5)
    assert method["contrast"]["value"] == pytest.approx((1 / 4 + 1 / 2) / 2)
    assert results["methods"]["twin"]["seeds"] == 1


def test_seeds_probed_at_other_steps_are_refused(write_run, ask):
    runs = [
        write_run("GenSR", "", make_lines("probe", cosine_encoder_1=[0.1] * count), seed=count)
        for count in (2, 3)
    ]
    code, _, err = ask("conflict", f"--runs={','.join(runs)}")
    assert code == 2
    assert "probed at other steps" in err


def test_plateau_by_hand(write_run, ask):
    losses = [0.9, 0.6, 0.45, 0.42, 0.3, 0.3]  # means of three: 0.65, 0.49, 0.39, 0.34
    runs = [
        write_run("GenSR", "", make_lines("train", task=losses)),
        write_run("published", "published", make_lines("train", task=[0.5] * 5)),
    ]
    code, results, _ = ask("plateau", f"--runs={','.join(runs)}")
    assert code == 0
    assert results["plateau"] == pytest.approx(0.5004, abs=1e-4)
    rows = 16 * 5  # of a batch
    seed = results["methods"]["GenSR"]["seeds"][0]
    assert seed == {
        "rows": 60 * rows, "last": pytest.approx(0.34), "0.49": 50 * rows, "0.45": 50 * rows,
    }  # fmt: skip
    assert results["methods"]["GenSR"]["curve"]["rows"] == [n * rows for n in (30, 40, 50, 60)]
    never = results["methods"]["published"]["seeds"][0]
    assert (never["0.49"], never["0.45"]) == (None, None)


def test_query(pair, ask):
    code, results, _ = ask("query", pair("published", "published"), "--draws=1")
    assert code == 0
    ours, released = (results["methods"][name] for name in ("GenSR", "published"))
    assert set(ours) == {"full", "uniform19", "popularity19", "bm25_19"}
    for protocol, entry in ours.items():
        for asked in ("none", "other"):
            change = entry[asked]["NDCG@10"]["value"] - entry["own"]["NDCG@10"]["value"]
            assert entry[asked]["change"]["value"] == pytest.approx(change)
            assert entry[asked]["change"]["value"]
            assert released[protocol][asked]["change"]["value"] == 0  # it never sees the query


def test_runs_without_what_a_study_needs_are_named(write_run, ask):
    line = {"step": 1, "stage": "supervised", "kind": "train", "values": {"loss": 1.0}}
    runs = write_run("LCR", lines=[line], method="lcr")
    for name, part in (
        ("conflict", "no probes"),
        ("plateau", "no curve"),
        ("query", "is a run of lcr"),
    ):
        code, _, err = ask(name, f"--runs={runs}")
        assert code == 2
        assert part in err


def test_record_counts_steps_from_the_stages_start(tmp_path):
    lines = [
        {"step": 10, "stage": "first", "kind": "train", "values": {"a": 1.0}},
        {"step": 20, "stage": "first", "kind": "valid", "values": {"b": 1.0}},
        {"step": 30, "stage": "second", "kind": "train", "values": {"a": None}},
        {"step": 40, "stage": "second", "kind": "train", "values": {"a": 3.0, "c": 1.0}},
    ]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    record = read_record(tmp_path, "second", "train")
    assert record.step.tolist() == [10, 20]
    np.testing.assert_array_equal(record.column("a"), [np.nan, 3.0])
    np.testing.assert_array_equal(record.column("c"), [np.nan, 1.0])
    assert np.isnan(record.column("d")).all()
    assert read_record(tmp_path, "first", "train").step.tolist() == [10]
    assert len(read_record(tmp_path, "third", "train").step) == 0


def test_logbooks_that_cannot_be_read(tmp_path):
    with pytest.raises(InputError, match=r"metrics\.jsonl: missing"):
        read_record(tmp_path, "tune", "train")
    (tmp_path / "metrics.jsonl").write_text("{}\n")
    with pytest.raises(InputError, match=r"metrics\.jsonl, row 1, key stage: missing; use"):
        read_record(tmp_path, "tune", "train")


def test_interval_over_seeds_by_hand():
    # Mean 2, deviation 1, three seeds: 4.303 / sqrt(3).
    found = bound_seeds(np.array([1.0, 2.0, 3.0]))
    assert found["value"] == 2.0
    assert found["high"] - 2.0 == pytest.approx(2.4843, abs=1e-4)
    assert bound_seeds(np.array([5.0])) == {"value": 5.0, "low": 5.0, "high": 5.0}


def test_another_query_is_never_the_own():
    batch = {"row": np.arange(6), "query": np.array([1, 1, 2, 2, 3, 3], np.int32)}
    found = draw_others(batch, np.array([1, 2, 2, 3]), seed=0, draw=0)
    assert np.all(found != batch["query"])
    assert set(found) <= {1, 2, 3}
    np.testing.assert_array_equal(found, draw_others(batch, np.array([1, 2, 2, 3]), 0, 0))
