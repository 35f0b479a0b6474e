"""Runs become one table: worked by hand on four rows of three users."""

import copy
import math

import numpy as np
import pytest

from common.errors import InputError
from common.ranking.comparable import Run
from common.ranking.compare import (
    adjust_holm,
    average_evidence,
    compare_methods,
    find_doubts,
)
from common.ranking.intervals import compare_paired
from common.ranking.metrics import METRICS
from common.ranking.ranks import rank_table
from launch.compare_report import format_comparison

USERS = [1, 1, 2, 3]
ROWS = [4, 5, 8, 9]
DATA = {"name": "toy", "split": "joint", "parts": {
    "tables": "1a" * 32, "history": "1b" * 32, "split.joint": "1c" * 32,
    "list.joint.uniform99.rec.valid": "1d" * 32, "list.joint.uniform99.rec.test": "1e" * 32,
    "list.joint.uniform99.search.test": "1f" * 32,
}}  # fmt: skip
RESULTS = {
    "trained_on": DATA,
    "evaluated_on": copy.deepcopy(DATA),
    "dataset": {"name": "toy", "sha256": "ab" * 32},
    "split": "leave_one_out_joint",
    "seed": 0,
    "protocol": {
        "part": "test",
        "history_order": "time",
        "min_history": 1,
        "filter_seen": "history",
        "candidates": {"rec/uniform99": "cd" * 32},
    },
}


def make_run(ranks, seed=0, rows=ROWS, users=USERS, ties=0, **changes):
    """A run whose positives stand at these ranks; changes: dotted keys, __ for the dot."""
    results = copy.deepcopy(RESULTS) | {"seed": seed}
    for key, value in changes.items():
        *path, last = key.split("__")
        group = results
        for name in path:
            group = group[name]
        group[last] = value
    table = rank_table(np.array(rows), np.array(users), np.array(ranks) - 1, np.array(ties))
    return Run(f"runs/{seed}", results, table)


def compare(methods, metrics=("HR@1", "MRR"), protocol="full", reference=None, **options):
    reference = reference or next(iter(methods))
    options = {"resamples": 200, "flips": 100, **options}
    return compare_methods(methods, reference, "rec", protocol, metrics, **options)


def test_values_are_means_over_rows_and_seeds():
    told = compare(
        {
            "A": [make_run([1, 2, 1, 4]), make_run([1, 1, 1, 2], seed=1)],
            "B": [make_run([2, 2, 4, 4]), make_run([4, 4, 2, 1], seed=1)],
        }
    )
    ours = told["methods"]["A"]["metrics"]["HR@1"]
    assert ours["by_seed"] == [0.5, 0.75]
    assert ours["value"] == pytest.approx(0.625)
    assert ours["seed_sd"] == pytest.approx(math.sqrt(2) / 8)
    assert ours["low"] <= ours["value"] <= ours["high"]
    theirs = told["methods"]["B"]["metrics"]["HR@1"]
    assert theirs["by_seed"] == [0, 0.25]
    assert "differences" not in told["methods"]["A"]
    change = told["methods"]["B"]["differences"]["HR@1"]
    assert change["value"] == pytest.approx(0.125 - 0.625)
    assert change["relative"] == pytest.approx(-0.8)
    # Two seeds each: sqrt((1/32) / 2 + (1/32) / 2).
    assert change["seed_se"] == pytest.approx(math.sqrt(1 / 32))
    # Per user, means over rows and seeds: 1 and 2 lose, 3 gains half a hit.
    assert [change[n] for n in ("better", "equal", "worse")] == pytest.approx([1 / 3, 0, 2 / 3])
    assert (told["rows"], told["users"], told["reference"]) == (4, 3, "A")


def test_a_tied_positive_counts_with_its_mean():
    told = compare({"A": [make_run([1, 1, 1, 1], ties=[1, 0, 0, 0])]}, metrics=["HR@1"])
    assert told["methods"]["A"]["metrics"]["HR@1"]["value"] == pytest.approx(3.5 / 4)


def test_one_seed_each_is_the_paired_comparison():
    rng = np.random.default_rng(0)
    rows, users = np.arange(60), np.repeat(np.arange(20), 3)
    one, two = (make_run(rng.integers(1, 30, 60), 0, rows, users) for _ in range(2))
    told = compare({"A": [one], "B": [two]}, metrics=METRICS, seed=3)
    paired = compare_paired(one.table, two.table, None, None, seed=3, resamples=200, flips=100)
    for metric in METRICS:
        change, same = told["methods"]["B"]["differences"][metric], paired[metric]
        expected = [same.difference, same.low, same.high, same.p_value]
        assert [change[n] for n in ("value", "low", "high", "p")] == pytest.approx(expected)
        assert change["seed_se"] is None
        assert told["methods"]["B"]["metrics"][metric]["seed_sd"] is None


def test_the_same_ranks_differ_by_nothing():
    told = compare({"A": [make_run([1, 2, 3, 4])], "B": [make_run([1, 2, 3, 4], seed=1)]})
    change = told["methods"]["B"]["differences"]["MRR"]
    assert [change[n] for n in ("value", "low", "high", "p", "p_holm")] == [0, 0, 0, 1, 1]
    assert change["effect"] is None


def test_holm_by_hand():
    assert adjust_holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert adjust_holm([0.6, 0.7]) == [1.0, 1.0]
    assert adjust_holm([]) == []


def test_evidence_is_the_mean_and_the_lowest_bound():
    def told(value, low):
        return {
            "evidence": {
                "model": {"auc_flag": {"value": value, "low": low}, "auc_pair": {"value": None}},
                "swapped": {"auc_flag": {"value": 0.5, "low": 0.4}} if low > 0.7 else {},
            }
        }

    summary = average_evidence([told(0.8, 0.7), told(0.9, 0.75)])
    assert summary == {"model": {"auc_flag": {"value": pytest.approx(0.85), "lowest": 0.7}}}
    assert average_evidence([told(0.9, 0.75), {}]) == {}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        *(
            ({f"{key}__parts__{part}": "ef" * 32}, f"was {key.replace('_', ' ')} other data than")
            for key in ("trained_on", "evaluated_on")
            for part in ("tables", "history", "split.joint")
        ),
        # Of the lists those of the task that is compared, whatever the protocol.
        ({"evaluated_on__parts__list.joint.uniform99.rec.test": "ef" * 32}, "was evaluated on oth"),
        ({"evaluated_on__parts__list.joint.uniform5.rec.test": "ef" * 32}, "was evaluated on oth"),
        ({"protocol__part": "valid"}, "part is valid"),
        ({"protocol__min_history": 2}, "min_history is 2"),
        ({"protocol__filter_seen": "none"}, "filter_seen is none"),
        ({"rows": [4, 5, 8, 10]}, "the ranked rows are not those"),
        ({"users": [1, 1, 2, 4]}, "the ranked rows are not those"),
        ({"rows": ROWS[:3], "users": USERS[:3], "ranks": [1, 1, 1]}, "number of ranked rows is 3"),
    ],
)
def test_runs_that_cannot_be_compared_are_refused(change, message):
    other = make_run(**{"ranks": [1, 1, 1, 1], "seed": 7, **change})
    with pytest.raises(InputError, match=f"^runs/7: {message}.*runs/0"):
        compare({"A": [make_run([1, 1, 1, 1])], "B": [other]})


def test_the_message_names_the_part_both_hashes_and_the_mend():
    other = make_run([1, 1, 1, 1], 7, **{"evaluated_on__parts__split.joint": "ef" * 32})
    with pytest.raises(InputError) as error:
        compare({"A": [make_run([1, 1, 1, 1])], "B": [other]})
    assert str(error.value) == (
        "runs/7: was evaluated on other data than runs/0: the split joint is 1c1c1c1c1c1c there "
        "and efefefefefef here; judge both on one dataset, by --mode=evaluate, or give each a "
        "table of its own"
    )


@pytest.mark.parametrize(
    "part",
    [
        "trained_on__parts__list.joint.uniform99.rec.valid",
        "trained_on__parts__list.joint.uniform99.rec.test",
        "evaluated_on__parts__list.joint.uniform99.rec.valid",
        "evaluated_on__parts__list.joint.uniform99.search.test",
    ],
)
def test_lists_that_did_not_judge_the_rows_may_differ_between_methods(part):
    other = make_run([2, 1, 1, 1], 1, **{part: "ef" * 32})
    told = compare({"A": [make_run([1, 1, 1, 1])], "B": [other]})
    assert told["methods"]["B"]["differences"]["HR@1"]["value"] == -0.25


def test_the_seeds_of_a_method_stop_by_the_same_lists():
    part = "trained_on__parts__list.joint.uniform99.rec.valid"
    other = make_run([2, 1, 1, 1], 1, **{part: "ef" * 32})
    with pytest.raises(InputError, match=r"^runs/1: .* the list uniform99 of rec valid is 1d1d"):
        compare({"A": [make_run([1, 1, 1, 1]), other]})


def test_runs_judged_on_other_data_than_trained_on_have_a_table_of_their_own():
    moved = {"trained_on__name": "late", "trained_on__parts__split.joint": "ef" * 32}
    runs = {"A": [make_run([1, 1, 1, 1], **moved)], "B": [make_run([2, 1, 1, 1], **moved)]}
    told = compare(runs)
    assert told["trained_on"]["name"] == "late"
    line = "**Trained on other data**: late, joint (the split joint is efefefefefef there and 1c1c"
    assert line in format_comparison(told)
    assert "other data" not in format_comparison(compare({"A": [make_run([1, 1, 1, 1])]}))
    with pytest.raises(InputError, match="was trained on other data than"):
        compare({**runs, "C": [make_run([1, 1, 1, 1])]})


@pytest.mark.parametrize("key", ["trained_on", "evaluated_on"])
def test_results_of_an_older_version_are_refused(key):
    other = make_run([1, 1, 1, 1], 7, **{key: None})
    with pytest.raises(InputError, match=f"^runs/7/results.json, key {key}: made by an older ver"):
        compare({"A": [make_run([1, 1, 1, 1])], "B": [other]})


def test_stored_lists_must_be_the_same_and_then_the_filter_does_not_matter():
    ours = make_run([1, 1, 1, 1])
    other = make_run([1, 1, 1, 1], 1, protocol__candidates={"rec/uniform99": "00" * 32})
    with pytest.raises(InputError, match="candidates of rec/uniform99 is 000000000000"):
        compare({"A": [ours], "B": [other]}, protocol="uniform99")
    other = make_run([2, 1, 1, 1], 1, protocol__filter_seen="none")
    told = compare({"A": [ours], "B": [other]}, protocol="uniform99")
    assert told["methods"]["B"]["differences"]["HR@1"]["value"] == -0.25


def test_a_copied_run_is_no_second_seed():
    runs = [make_run([1, 1, 1, 1]), make_run([1, 1, 1, 1])]
    with pytest.raises(InputError, match="both have seed 0"):
        compare({"A": runs})
    with pytest.raises(InputError, match="no run; give at least one"):
        compare({"A": [make_run([1, 1, 1, 1])], "B": []})
    with pytest.raises(InputError, match="--against=C: no such method; use one of A"):
        compare({"A": runs[:1]}, reference="C")


@pytest.mark.parametrize(("seed_se", "doubted"), [(0.04, False), (0.06, True), (None, False)])
def test_a_difference_within_the_noise_of_training_is_doubted(seed_se, doubted):
    entry = {"value": 0.1, "low": 0.05, "high": 0.2, "seed_se": seed_se}
    told = {"reference": "A", "methods": {"A": {}, "B": {"differences": {"MRR": entry}}}}
    assert bool(find_doubts(told)) == doubted
    entry["low"] = -0.01  # the users do not confirm it either: the table says so already
    assert find_doubts(told) == []
