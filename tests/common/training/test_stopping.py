import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.errors import InputError
from common.training.divergence import TrainingDiverged, check_finite
from common.training.state import Progress
from common.training.stopping import judge, pick_metric
from common.training.task import Stopping


def judge_all(stopping, values):
    """Progress after each of a row of evaluations, ten steps apart."""
    progress, history = Progress(stage_name="fit", stage_start=100), []
    for number, value in enumerate(values, start=1):
        progress = judge(replace(progress, step=10 * number), stopping, value)
        history.append(progress)
    return history


def test_best_is_the_first_of_equals_and_counts_in_global_steps():
    last = judge_all(Stopping(patience=0), [0.1, 0.3, 0.3, 0.2])[-1]
    assert (last.best_value, last.best_step, last.bad_evaluations) == (0.3, 120, 2)
    assert last.evaluated_step == 40


@settings(derandomize=True, deadline=None, max_examples=50)
@given(st.lists(st.integers(0, 5), min_size=1, max_size=12))
def test_best_and_the_count_since_then(values):
    last = judge_all(Stopping(patience=0), values)[-1]
    first_best = values.index(max(values))
    assert (last.best_value, last.best_step) == (max(values), 100 + 10 * (first_best + 1))
    assert last.bad_evaluations == len(values) - 1 - first_best


def test_patience_counts_evaluations_without_a_gain():
    history = judge_all(Stopping(patience=2), [0.5, 0.4, 0.6, 0.5, 0.6])
    assert [progress.stopped for progress in history] == [False, False, False, False, True]


def test_no_patience_never_stops():
    assert not any(p.stopped for p in judge_all(Stopping(patience=0), [0.5] * 20))


def test_plateau_drops_again_and_again_until_a_gain():
    stopping = Stopping(patience=0, plateau_patience=2, plateau_factor=0.5)
    history = judge_all(stopping, [0.5, 0.4, 0.4, 0.4, 0.4, 0.6, 0.5, 0.5])
    assert [p.rate_scale for p in history] == [1.0, 1.0, 0.5, 0.5, 0.25, 0.25, 0.25, 0.125]


def test_missing_metric_lists_the_available_ones():
    progress = Progress(stage_name="fit")
    with pytest.raises(InputError, match=r"'NDCG' ?: .*use one of a, b$"):
        pick_metric({"b": 1.0, "a": 2.0}, Stopping(metric="NDCG"), progress)


def test_a_stopping_metric_that_is_not_a_number_names_the_step():
    progress = Progress(stage_name="fit", stage_start=10, step=4)
    with pytest.raises(TrainingDiverged, match="stage fit, step 14: a is nan"):
        pick_metric({"a": math.nan}, Stopping(metric="a"), progress)


def test_divergence_names_the_first_value_and_the_others():
    values = {"loss": 1.0, "grad_norm": math.inf, "update_norm": math.nan, "param_norm": 1.0}
    with pytest.raises(TrainingDiverged, match=r"step 7: grad_norm is inf \(so are update_norm\)"):
        check_finite(values, "fit", 7)
    finite = {**dict.fromkeys(values, 1.0), "own": math.nan}
    check_finite(finite, "fit", 7)  # a task's own metric may be empty in a batch
