import copy
import json
from pathlib import Path

import numpy as np
import pytest

import common.ranking.results as results_module
from common.errors import InputError
from common.ranking.metrics import METRICS, mean_metrics
from common.ranking.protocols import Evaluation, evaluate
from common.ranking.ranks import RankTable, read_ranks, write_ranks
from common.ranking.report import find_problems, format_report
from common.ranking.results import (
    build_results,
    read_results,
    recompute_values,
    summarize_ranks,
    validate_results,
    write_results,
)
from common.ranking.rows import choose_rows
from common.ranking.sanity import merge_ranks, rank_baselines
from common.ranking.slices import slice_ranks


@pytest.fixture(scope="module")
def built(dataset, dot):
    evaluation = evaluate(dot.task(), dot.params(), {}, dataset)
    sanity = merge_ranks(
        {
            task: rank_baselines(dataset, task, choose_rows(dataset, task, "test", 1))
            for task in ("rec", "search")
        }
    )
    results = build_results(
        dataset,
        evaluation,
        sanity,
        seed=7,
        wall_seconds=1.5,
        train_examples_per_second=None,
        resamples=200,
        method="dot",
        parameters=123,
        slices=slice_ranks(dataset, evaluation.ranks, resamples=200),
        device={"platform": "gpu", "kind": "NVIDIA H100 80GB HBM3", "count": 1},
        precision={"products": "highest", "activations": "bfloat16"},
    )
    return evaluation, results


def test_results_have_the_fields_of_the_schema_in_order(built):
    _, results = built
    assert list(results)[:9] == [
        "schema",
        "dataset",
        "split",
        "seed",
        "tasks",
        "sanity",
        "ties",
        "speed",
        "wall_seconds",
    ]
    assert results["schema"] == 1
    assert results["dataset"] == {"name": "tiny", "sha256": "ab" * 32}
    assert list(results["tasks"]) == ["rec", "search"]
    assert list(results["sanity"]) == ["random", "popularity", "last_item", "in_history"]
    for table in (results["tasks"], *results["sanity"].values()):
        for protocols in table.values():
            assert set(protocols) == {"full", "uniform12", "popularity12"}
            for metrics in protocols.values():
                assert tuple(metrics) == METRICS
                assert all(m["low"] <= m["value"] <= m["high"] for m in metrics.values())
    assert results["speed"]["train_examples_per_second"] is None
    assert results["method"] == "dot"
    assert "stage" not in results
    assert results["protocol"]["filter_seen"] == "history"


def test_values_can_be_recomputed_from_the_ranks_file(built, tmp_path):
    evaluation, results = built
    write_ranks(tmp_path / "ranks.parquet", evaluation.ranks)
    values = recompute_values(read_ranks(tmp_path / "ranks.parquet"))
    means = mean_metrics(evaluation.ranks)
    for task, protocols in results["tasks"].items():
        assert set(values[task]) == set(protocols)
        for protocol, metrics in protocols.items():
            for name, bounds in metrics.items():
                assert abs(values[task][protocol][name] - bounds["value"]) < 1e-12
                assert abs(means[f"{task}/{protocol}/{name}"] - bounds["value"]) < 1e-12


def test_results_survive_the_file(built, tmp_path):
    _, results = built
    write_results(tmp_path / "results.json", results)
    assert [entry.name for entry in tmp_path.iterdir()] == ["results.json"]
    assert read_results(tmp_path / "results.json") == results
    assert json.loads((tmp_path / "results.json").read_text()) == results


def test_the_schema_file_and_the_validator_ask_for_the_same(built):
    path = Path(results_module.__file__).with_name("results.schema.json")
    schema = json.loads(path.read_text())
    _, results = built
    assert schema["$defs"]["metrics"]["required"] == list(METRICS)
    for key in schema["required"]:
        broken = {name: value for name, value in results.items() if name != key}
        with pytest.raises(InputError, match=f"key {key}: is missing"):
            validate_results(broken)


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        (("schema",), 2, "key schema: 2 is not 1"),
        (("seed",), True, "key seed: has the wrong type, bool"),
        (("dataset",), "demo", "key dataset: has the wrong type, str"),
        (("tasks", "rec", "full", "MRR"), None, "key tasks.rec.full.MRR: has the wrong type"),
        (("tasks", "rec", "full", "MRR", "low"), float("nan"), "MRR.low: nan is not a finite"),
        (("tasks", "rec", "full", "MRR", "low"), 1.0, r"MRR: bounds \[1.0, .*\] do not enclose"),
        (("tasks", "rank"), {}, "key tasks.rank: is no task"),
        (("sanity", "random", "rec", "full", "HR@1"), {}, "HR@1.value: is missing"),
        (("ties", "rate"), 1.5, "key ties.rate: 1.5"),
        (("speed", "eval_lists_per_second"), None, "eval_lists_per_second: has the wrong type"),
        (("speed", "train_examples_per_second"), float("inf"), "inf is not a finite"),
        (("wall_seconds",), -1.0, "key wall_seconds: -1.0"),
        (("device", "count"), "1", "key device.count: has the wrong type, str"),
        (("device",), {"platform": "cpu"}, "key device.kind: is missing"),
        (("precision", "products"), None, "key precision.products: has the wrong type"),
        (("own_history", "rec/full", "low"), 0.9, r"own_history.rec/full: bounds \[0.9, "),
        (("alarms",), [{"alarm": "X", "where": "all"}], "key alarms.says: is missing"),
        (("alarms",), {}, "key alarms: has the wrong type, dict"),
        (("slices", "rec", "item", "cold", "n"), None, "rec.item.cold.n: has the wrong type"),
        (
            ("slices", "search", "query", "seen"),
            {"n": 1, "users": 1, "protocols": {"full": {"MRR": {"value": 1, "low": 1}}}},
            "slices.search.query.seen.protocols.full.MRR.high: is missing",
        ),
        (("tasks",), {}, "key tasks: is empty"),
    ],
)
def test_the_first_fault_is_named_by_its_key(built, path, value, says):
    results = copy.deepcopy(built[1])
    inner = results
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    with pytest.raises(InputError, match=says):
        validate_results(results)


def test_a_cut_off_file_is_named_with_its_line(tmp_path):
    (tmp_path / "results.json").write_text('{"schema": 1,\n"data')
    with pytest.raises(InputError, match=r"results.json, line 2: .*; evaluate again"):
        read_results(tmp_path / "results.json")


def test_tables_of_different_rows_get_their_own_bootstrap():
    def table(rows):
        ranks = np.arange(1, len(rows) + 1, dtype=np.int32)
        return RankTable(np.array(rows), np.array(rows, np.int32), ranks, ranks)

    short, long = table([1, 2]), table([1, 2, 3])
    got = summarize_ranks({"": {("rec", "full"): short, ("rec", "uniform99"): long}})[""]["rec"]
    assert list(got) == ["full", "uniform99"]
    assert got["full"]["HR@1"]["value"] == 1 / 2
    assert got["uniform99"]["HR@1"]["value"] == 1 / 3


def small_results():
    """Hand-made results of one task under one protocol."""

    def metrics(value):
        return {
            name: {"value": value, "low": max(value - 0.01, 0), "high": value + 0.02}
            for name in METRICS
        }

    def part(n, value):
        return {"n": n, "users": n, "protocols": {"uniform99": metrics(value)}}

    sanity = {"random": 0.05, "popularity": 0.0711, "in_history": 0.14, "bm25": 0.1}
    return {
        "schema": 1,
        "dataset": {"name": "demo", "sha256": "0123456789abcdef" * 4},
        "split": "leave_one_out_joint",
        "seed": 3,
        "tasks": {"rec": {"uniform99": metrics(0.25)}},
        "sanity": {name: {"rec": {"uniform99": metrics(v)}} for name, v in sanity.items()},
        "own_history": {"rec/uniform99": {"value": 0.31, "low": 0.3, "high": 0.32}},
        "slices": {
            "rec": {
                "target": {
                    "new": part(6400, 0.05),
                    "repeat": part(3600, 0.6),
                    "bought_before": part(3000, 0.7),
                    "clicked_before": part(600, 0.1),
                },
                "item": {"warm": part(9951, 0.26), "cold": {"n": 49, "users": 49}},
                "user": {"with_searches": part(10000, 0.25), "without_searches": part(0, 0)},
            }
        },
        "ties": {"rate": 0.012},
        "speed": {"train_examples_per_second": 12345.6, "eval_lists_per_second": 987654.0},
        "wall_seconds": 61.25,
        "protocol": {
            "part": "test",
            "history_order": "time",
            "filter_seen": "none",
            "filter_reason": "auto: 36.0% of rec test targets stand in their own history, above 1%",
            "min_history": 1,
            "rows": {"rec": 10000},
            "users": {"rec": 10000},
            "candidates": {"rec/uniform99": "fedcba9876543210" * 4},
            "sizes": {"rec/uniform99": 100.0},
        },
        "method": "lcr",
        "stage": "supervised",
        "parameters": 1234567,
        "evidence": {
            "model": {"auc_flag": {"value": 0.7, "low": 0.65, "high": 0.75}},
            "oracle": {"auc_flag": {"value": 1.0, "low": 1.0, "high": 1.0}},
        },
    }


GOLDEN = """\
data    demo  sha256 0123456789ab  seed 3
split   leave_one_out_joint  part test  history by time  min history 1  full leaves out none
filter  auto: 36.0% of rec test targets stand in their own history, above 1%
model   lcr  supervised  1,234,567 parameters
lists   rec/uniform99 fedcba987654

rec / uniform99  (10,000 rows)
                    HR@1    HR@5                    HR@10  NDCG@5                  NDCG@10     MRR
  lcr             0.2500  0.2500  0.2500 [0.2400, 0.2700]  0.2500  0.2500 [0.2400, 0.2700]  0.2500
  random          0.0500  0.0500  0.0500 [0.0400, 0.0700]  0.0500  0.0500 [0.0400, 0.0700]  0.0500
  popularity      0.0711  0.0711  0.0711 [0.0611, 0.0911]  0.0711  0.0711 [0.0611, 0.0911]  0.0711
  in_history      0.1400  0.1400  0.1400 [0.1300, 0.1600]  0.1400  0.1400 [0.1300, 0.1600]  0.1400
  bm25            0.1000  0.1000  0.1000 [0.0900, 0.1200]  0.1000  0.1000 [0.0900, 0.1200]  0.1000

evidence (AUC of planted useful searches, 0.5 = chance)
                                 auc_flag
  model           0.7000 [0.6500, 0.7500]
  oracle          1.0000 [1.0000, 1.0000]

rec / uniform99: NDCG@10 (share of the rows)
  target      new 0.0500 (64%)   bought before 0.7000 (30%)   only clicked before 0.1000 (6%)
  item        warm 0.2600 (99.5%)   cold - (n = 49)

ties    1.200% of the model's ranks (expected value)
speed   987,654 lists/s ranked, 12,346 examples/s trained; 61.2 s in all
NOT FINAL: 1.20% of ranks are tied, above 1.00%; rank by logits in float32
LEAK OR REPEATS: rec/uniform99: in_history puts targets at 31.0% of their lists, chance is 50%
rec / uniform99: 64% of targets are new items: NDCG@10 0.0500; 36% repeats: 0.6000, 86% of the score
"""


def test_the_report_of_small_results():
    results = small_results()
    validate_results(results)
    text = format_report(results)
    assert text == GOLDEN
    assert max(map(len, text.splitlines())) <= 100


def test_the_limits_of_the_report_can_be_moved():
    results = small_results()
    assert len(find_problems(results, max_tie_rate=0.02)) == 1
    results["own_history"]["rec/uniform99"]["high"] = 0.49
    assert find_problems(results, max_tie_rate=0.02) == []
    del results["protocol"], results["method"], results["stage"], results["parameters"]
    del results["evidence"], results["slices"]
    text = format_report(results)
    assert "  model           0.2500" in text


def last_lines(new, repeat, users=10_000):
    """What the report ends with where this many targets are new, and this many repeats."""
    results = small_results()
    results["ties"]["rate"], results["own_history"] = 0.0, {}
    results["protocol"] |= {"rows": {"rec": new + repeat}, "users": {"rec": users}}
    target = results["slices"]["rec"]["target"]
    for label, n in (("new", new), ("repeat", repeat)):
        target[label]["n"] = n
        if n < 50:
            del target[label]["protocols"]
    return format_report(results).splitlines()


@pytest.mark.parametrize(
    ("new", "repeat", "says"),
    [
        (10_000, 0, "rec / uniform99: all targets are items new to their users"),
        (0, 10_000, "rec / uniform99: all targets are repeats, known from their own history"),
        (9_951, 49, "99.5% of targets are new items: NDCG@10 0.0500; 0.5% repeats: - (n = 49)"),
    ],
)
def test_the_last_line_says_what_carried_the_score(new, repeat, says):
    assert last_lines(new, repeat)[-1].endswith(says)


def test_too_few_rows_are_no_result():
    lines = last_lines(60, 0, users=49)
    assert lines[-1] == (
        "rec: TOO FEW ROWS to conclude anything: 60 of 49 users; test on at least 50 users"
    )
    assert not any("share of the rows" in line for line in lines)
    assert "TOO FEW" not in "".join(last_lines(60, 0, users=50))


def test_the_report_of_real_results_fits_the_page(built):
    _, results = built
    text = format_report(results)
    assert max(map(len, text.splitlines())) <= 100
    assert text.count("popularity ") >= 6  # two tasks, three protocols


def test_a_speed_that_is_no_number_is_refused(built, dataset):
    evaluation, _ = built
    broken = Evaluation(evaluation.ranks, evaluation.details, float("inf"))
    with pytest.raises(InputError, match=r"speed.eval_lists_per_second: inf"):
        build_results(dataset, broken, {}, seed=0, wall_seconds=1.0, resamples=50)
