"""Toys in which mutual information is known: a check of the estimators, and the paper's argument.

The argument, in the linear-Gaussian form (ours): X ~ N(0, Sigma), and each task asks for
Y_t = W_t X + noise. A generative model is told the task, so its representation may be W_t X, which
keeps all that X says about Y_t: I = 1/2 log det(1 + W_t Sigma W_t' / sigma^2). A discriminative one
has to make do with one W for both, here the one with the least squared error over both tasks;
what its head can still know is I(W X; Y_t). A head may be any function of W X, so the loss is that
of the shared part alone. It is the price of a shared part that is as narrow as one task: with room
for both tasks' rows it would keep everything.

Shapes: [n] inputs  [k] outputs of a task
"""

from __future__ import annotations

from typing import Any

import numpy as np

from gensr_jax.studies.critic import CriticSettings, infonce_terms
from gensr_jax.studies.estimators import (
    entropy_of,
    fit_calibration,
    gaussian_terms,
    ksg_terms,
    label_terms,
)

CASES = ((2, 0.5), (4, 2.0), (16, 2.0), (16, 8.0))  # dimensions of each vector, true I
ANGLES = tuple(range(0, 91, 10))
INPUTS, OUTPUTS, NOISE, DRAWS = 16, 4, 0.1, 20  # noise: its variance


def check_estimators(
    pairs: int, neighbour_rows: int, draws: int, seed: int, settings: CriticSettings
) -> dict[str, Any]:
    """Estimates beside the truth, at the sample sizes of the study.

    Returns {"pairs": [{"dimensions", "true", "infonce", "gaussian", "ksg"}],
    "label": {"true", "bound"}}. Pairs are jointly Gaussian with I = -d/2 ln(1 - rho^2). The label
    is one of five, its input N(2, 1) for a positive and N(0, 1) else, the score three times the
    log-odds plus one.
    """
    rng = np.random.default_rng(seed)
    found = []
    for width, true in CASES:
        correlation = float(np.sqrt(-np.expm1(-2 * true / width)))
        fit, report = (draw_pairs(rng, pairs, width, correlation) for _ in range(2))
        terms, cap = infonce_terms(fit, np.arange(pairs) % 5 == 0, report, seed, settings)
        few = report[0][:neighbour_rows], report[1][:neighbour_rows]
        gaussian = gaussian_terms(*report, np.arange(pairs), draws, seed)
        found.append({
            "dimensions": width, "true": true, "infonce": float(terms.mean()), "cap": cap,
            "gaussian": float(gaussian.mean()), "ksg": float(ksg_terms(*few).mean()),
        })  # fmt: skip
    labels = [(rng.random(pairs) < 0.2).astype(np.float64) for _ in range(2)]
    scores = [3 * (2 * (y * 2 + rng.normal(size=pairs)) - 2) + 1 for y in labels]
    calibration = fit_calibration(scores[0], labels[0])
    bound = float(label_terms(calibration, scores[1], labels[1]).mean())
    return {"pairs": found, "label": {"true": true_label_information(0.2, 2.0), "bound": bound}}


def draw_pairs(
    rng: np.random.Generator, count: int, width: int, correlation: float
) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of standard Gaussian vectors, float64 [count, width] each."""
    first, noise = rng.normal(size=(2, count, width))
    return first, correlation * first + np.sqrt(1 - correlation**2) * noise


def true_label_information(share: float, distance: float) -> float:
    """I between a label and x ~ N(distance * label, 1), by quadrature."""
    x = np.linspace(-12.0, distance + 12.0, 40_001)
    positive = share * np.exp(-((x - distance) ** 2) / 2) / np.sqrt(2 * np.pi)
    negative = (1 - share) * np.exp(-(x**2) / 2) / np.sqrt(2 * np.pi)
    odds = np.log(share / (1 - share)) + distance * (x - distance / 2)  # their logarithm
    doubt = np.logaddexp(0, odds) - odds * np.exp(-np.logaddexp(0, -odds))
    conditional = float(((positive + negative) * doubt).sum() * (x[1] - x[0]))
    return entropy_of(np.array([share])) - conditional


def compare_weights(seed: int) -> list[dict[str, float]]:
    """I about one task's output by the angle between the tasks, in degrees.

    Returns [{"angle", "own", "shared"}]: of a W per task, and of the one W for both; means over
    both tasks and `DRAWS` draws. At 0 degrees the tasks are one, at 90 nothing of one helps the
    other. Sigma has the variances 1, 1/2, 1/3, ...
    """
    rng = np.random.default_rng(seed)
    covariance = np.diag(1 / np.arange(1.0, INPUTS + 1))
    frames = [np.linalg.qr(rng.normal(size=(INPUTS, 2 * OUTPUTS)))[0].T for _ in range(DRAWS)]
    curve = []
    for angle in ANGLES:
        own, shared = [], []
        for frame in frames:
            weights = turn(frame, angle)
            one = (weights[0] + weights[1]) / 2  # least squares over both, as X is the same
            own += [information_kept(w, w, covariance, NOISE) for w in weights]
            shared += [information_kept(one, w, covariance, NOISE) for w in weights]
        curve.append({
            "angle": float(angle), "own": float(np.mean(own)), "shared": float(np.mean(shared)),
        })  # fmt: skip
    return curve


def turn(frame: np.ndarray, angle: float) -> tuple[np.ndarray, np.ndarray]:
    """W_rec and W_search [k, n], every row of one at `angle` degrees to its row of the other.

    frame: [2 k, n], orthonormal rows
    """
    first, other = np.split(frame, 2)
    turned = np.cos(np.radians(angle)) * first + np.sin(np.radians(angle)) * other
    return first, turned


def information_kept(
    representation: np.ndarray, task: np.ndarray, covariance: np.ndarray, noise: float
) -> float:
    """I(R X; W X + eps) in nats, in closed form; R = W gives 1/2 log det(1 + W Sigma W' / noise).

    representation: R [r, n], of full rank; task: W [k, n]; covariance: Sigma [n, n]; noise: its
    variance
    """
    signal = task @ covariance @ task.T
    seen = representation @ covariance @ task.T
    code = representation @ covariance @ representation.T
    unexplained = signal - seen.T @ np.linalg.solve(code, seen)
    eye = noise * np.eye(len(task))
    known, left = (np.linalg.slogdet(part + eye)[1] for part in (signal, unexplained))
    return float(known - left) / 2
