"""Information: how much the inputs and the last state say, for GenSR and for its twin.

Held-out lists of 1 positive and the negatives of training, the same for all runs. Whatever is
fitted (temperature, critic, principal directions) is fitted on the validation part, and reported
on the test part. X is the four soft tokens side by side, h the last state before the head.

label       I(X; Y) >= H(Y) - CE of the calibrated answer. In search the query counts as input too.
infonce     I(X; h) >= ln B - L of a critic; at the cap ln B it says nothing more
gaussian    I(X; h) of the first 16 or 32 principal directions, as if jointly Gaussian
ksg         the same by nearest neighbours, one candidate of each list: rows are to be independent

h is computed from X, the query and the prompt without noise, so the true I(X; h) has no limit.
Estimates of it say how easily X is found in h; compare runs, not figures with the truth. The
twin's h is a mean over the prompt in which X itself stands, GenSR's the state of a decoder that
has looked at it: there the twin is ahead by its make.

Sized for minutes on a CPU with two methods of three seeds: one critic of B = 1,024 per run and
task instead of three, 400 steps instead of 5,000, of which the best is chosen on a fifth of the
validation users, and at most `LISTS` lists. It stays a bound; with less training a lower one.

Shapes: [n] lists  [C] candidates  [D] T5 width
Source: the paper's theorem speaks of I(X; Y); its estimator is not public, these are ours.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from common.data.hashing import SUBSET, draw_uniform
from common.report.tables import format_bounds, format_markdown
from common.runs.folder import RunFolder
from common.runs.measures import Columns, Measured, Request, bound, measure_methods
from gensr_jax.states import States
from gensr_jax.studies.critic import CriticSettings, infonce_terms
from gensr_jax.studies.estimators import (
    entropy_of,
    fit_calibration,
    fit_whitening,
    gaussian_terms,
    ksg_terms,
    label_terms,
)
from gensr_jax.studies.generative import (
    Lists,
    check_generative,
    draw_lists,
    open_generative,
    read_lists,
)
from gensr_jax.studies.information_picture import draw_information
from gensr_jax.studies.toy_information import check_estimators, compare_weights

TASKS = ("rec", "search")
WIDTHS = (16, 32)
LISTS = 2000  # of each task and part
DRAWS = 200  # resamples of users for the bias of the Gaussian estimates
HELD = 0.2  # of the validation users, to choose the critic's step
CRITIC = CriticSettings()
MEASURES = ("label", "infonce", *(f"{n}{w}" for n in ("gaussian", "ksg") for w in WIDTHS))
NAMES = {
    "label": "I(X; Y), label bound",
    "infonce": "I(X; h), InfoNCE bound",
    **{f"gaussian{w}": f"I(X; h), Gaussian, {w} directions" for w in WIDTHS},
    **{f"ksg{w}": f"I(X; h), neighbours, {w} directions" for w in WIDTHS},
}


class Parts(NamedTuple):
    """Lists of one task: to fit on, and to report."""

    fit: Lists
    report: Lists


def measure(request: Request) -> dict[str, Any]:
    """{"entropy", "cap", "lists", "critic", "first", "methods", "against", "check", "toy"}.

    methods: {name: {task: {measure of `MEASURES`: {value, low, high, seeds}}}}; seeds: each
    run's own value. against: {other name: {task: {measure: {value, low, high}}}}, the first
    method minus the other, paired over users. Intervals hold the trained models fixed.
    cap: ln B of each task; check, toy: see `gensr_jax.studies.toy_information`.
    Raises InputError for runs of other methods.
    """
    check_generative(request)
    parts = {
        task: Parts(*(draw_lists(request, task, part, LISTS) for part in ("valid", "test")))
        for task in TASKS
    }
    seeds: dict[str, list[Columns]] = {}
    caps: dict[str, float] = {}
    measured = measure_methods(request, lambda run: _measure_run(request, run, parts, seeds, caps))
    place = _places(parts)
    first, *others = measured

    def enter(name: str, task: str, key: str) -> dict[str, Any]:
        own = [float(columns[key][place[task]].mean()) for columns in seeds[name]]
        found = measured[name]
        values = found.columns[key][place[task]]
        return {**bound(found.user[place[task]], values, request.seed), "seeds": own}

    def subtract(name: str, task: str, key: str) -> dict[str, float]:
        ours, theirs = (measured[n].columns[key][place[task]] for n in (first, name))
        return bound(measured[first].user[place[task]], ours - theirs, request.seed)

    candidates = 1 + parts["rec"].report.negatives.shape[1]
    lists = len(parts["rec"].report.rows)
    return {
        "first": first,
        "entropy": entropy_of(np.arange(candidates) == 0),
        "cap": caps,
        "lists": {t: {"fit": len(p.fit.rows), "test": len(p.report.rows)}
                  for t, p in parts.items()},
        "critic": dataclasses.asdict(CRITIC),
        "methods": {n: {t: {k: enter(n, t, k) for k in MEASURES} for t in TASKS}
                    for n in measured},
        "against": {n: {t: {k: subtract(n, t, k) for k in MEASURES} for t in TASKS}
                    for n in others},
        "check": check_estimators(candidates * lists, lists, DRAWS, request.seed, CRITIC),
        "toy": compare_weights(request.seed),
    }  # fmt: skip


def _places(parts: dict[str, Parts]) -> dict[str, slice]:
    """Where the reported lists of each task stand in the columns."""
    count = len(parts["rec"].report.rows)
    return {"rec": slice(count), "search": slice(count, None)}


def _measure_run(
    request: Request,
    run: RunFolder,
    parts: dict[str, Parts],
    seeds: dict[str, list[Columns]],
    caps: dict[str, float],
) -> Measured:
    """Values per list, those of rec before those of search."""
    model = open_generative(request, run)
    found = []
    for task in TASKS:
        fit, report = (read_lists(request, model, lists) for lists in parts[task])
        columns, caps[task] = estimate(fit, report, parts[task], request.seed)
        found.append(columns)
    columns = {key: np.concatenate([part[key] for part in found]) for key in MEASURES}
    seeds.setdefault(run.name, []).append(columns)
    lists = [parts[task].report for task in TASKS]
    row, user = (np.concatenate([getattr(p, name) for p in lists]) for name in ("rows", "users"))
    return Measured(row, user, columns)


def estimate(fit: States, report: States, lists: Parts, seed: int) -> tuple[Columns, float]:
    """The measures of one task as values per list, float64 [n], and the cap of InfoNCE."""
    count, candidates = report.difference.shape
    calibration = fit_calibration(*_answers(fit))
    columns = {"label": label_terms(calibration, *_answers(report))}
    ours, theirs = _pairs(fit), _pairs(report)
    everybody = np.unique(lists.fit.users)
    held = np.isin(
        np.repeat(lists.fit.users, candidates),
        everybody[draw_uniform(seed, SUBSET, everybody, 1) < HELD],
    )
    columns["infonce"], cap = infonce_terms(ours, held, theirs, seed, CRITIC)
    users = np.repeat(lists.report.users, candidates)
    column = (draw_uniform(seed, SUBSET, lists.report.rows, 2) * candidates).astype(np.int64)
    one_each = np.arange(count) * candidates + column
    turns = [fit_whitening(part) for part in ours]
    for width in WIDTHS:
        x, h = (turn.apply(part, width) for turn, part in zip(turns, theirs, strict=True))
        columns[f"gaussian{width}"] = gaussian_terms(x, h, users, DRAWS, seed)
        columns[f"ksg{width}"] = ksg_terms(x[one_each], h[one_each])
    return {
        key: terms if len(terms) == count else terms.reshape(count, -1).mean(axis=1)
        for key, terms in columns.items()
    }, cap


def _answers(states: States) -> tuple[np.ndarray, np.ndarray]:
    """Answers and labels of all rows (list, candidate)."""
    labels = np.zeros_like(states.difference)
    labels[:, 0] = 1
    return np.asarray(states.difference).ravel(), labels.ravel()


def _pairs(states: States) -> tuple[np.ndarray, np.ndarray]:
    """X [n C, 4 D] and h [n C, D] of all rows."""
    rows, width = states.difference.size, states.state.shape[-1]
    return np.reshape(states.tokens, (rows, 4 * width)), np.reshape(states.state, (rows, width))


def format_table(results: dict[str, Any]) -> str:
    """The results as Markdown."""
    methods, against = results["methods"], results["against"]
    head = ["nats", *methods, *(f"{results['first']} minus {name}" for name in against)]
    text = ""
    for task in TASKS:
        rows = [
            [NAMES[key],
             *(format_bounds(entry[task][key], 3) for entry in methods.values()),
             *(format_bounds(entry[task][key], 3, sign=True) for entry in against.values())]
            for key in MEASURES
        ]  # fmt: skip
        lists = results["lists"][task]
        text += (
            f"{task}: {lists['test']:,} test lists, fitted on {lists['fit']:,} of validation; "
            f"H(Y) = {results['entropy']:.4f}, InfoNCE shows at most {results['cap'][task]:.2f}\n\n"
        )
        text += format_markdown(head, rows) + "\n"
    text += (
        "I(X; Y) is what the paper's theorem is about. h is computed from X without noise, so "
        "I(X; h) has no limit, and its estimates say how easily X is found in h: of a twin, whose "
        "h is a mean over the prompt with X in it, more easily by its make.\n\n"
        "check: the estimators on Gaussian pairs whose information is known\n\n"
    )
    check = results["check"]
    rows = [
        [f"{case['dimensions']} dimensions each",
         *(f"{case[key]:.3f}" for key in ("true", "infonce", "gaussian", "ksg"))]
        for case in check["pairs"]
    ]  # fmt: skip
    text += format_markdown(["pairs", "true", "InfoNCE", "Gaussian", "neighbours"], rows)
    label = check["label"]
    text += f"\nLabel bound on a label of known information: {label['bound']:.3f}, "
    text += f"true {label['true']:.3f}.\n\n"
    text += "toy: what a linear representation keeps of one task's output\n\n"
    rows = [
        [f"{point['angle']:.0f}", f"{point['own']:.3f}", f"{point['shared']:.3f}"]
        for point in results["toy"]
    ]
    return text + format_markdown(["degrees between tasks", "a W per task", "one W for both"], rows)


def draw(path: Path, results: dict[str, Any]) -> None:
    """Label bounds, estimates of I(X; h), the check and the toy. Raises InputError without
    matplotlib."""
    draw_information(path, results, TASKS, MEASURES, NAMES)
