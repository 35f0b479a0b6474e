"""Conflict: do the two tasks pull the shared encoder the same way while a model is trained?

At every probe (`config.train.probe_every_steps`) a run writes the cosine of the two tasks'
gradients with respect to one self-attention layer, on the batch of that step, dropout off. Runs of
one seed see the same batches, so GenSR and its discriminative twin have the same inputs.

The study also says how much of the pull on the parameters is the contrastive loss.

Source: the paper's figure of gradient conflict. Reported there: GenSR 0.217, UniSAR 0.153, on other
data and sizes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import numpy as np

from common.errors import InputError
from common.report.pictures import COLORS, open_figure, plain
from common.report.tables import format_bounds, format_markdown
from common.runs.folder import RunFolder
from common.runs.measures import Request, bound_seeds
from common.runs.record import Record, read_record
from common.runs.tasks import build_task, take_batch
from gensr_jax.probe import find_attention, take

STAGE = "tune"
COSINE = "cosine_"


def measure(request: Request) -> dict[str, Any]:
    """{"methods": {name: {"step", "seeds", "layers": {layer: entry}, "contrast": {value, low,
    high} or None}}}.

    An entry has "mean" {value, low, high} over the whole training, an interval over seeds where
    there are two or more, and "later", the same without the first probe, where both tasks still
    learn how often the answer is Yes (None where there is one probe); "deviation" over steps and
    "negative", the share of steps below 0 (means over seeds); "random", the deviation between
    random directions of as many parameters; "curve", the mean over seeds at each step. "contrast":
    the share of the contrastive loss in the sum of both gradients' norms, mean over steps.
    Raises InputError for a run without probes, and for seeds that were probed at different steps.
    """
    found: dict[str, list[tuple[RunFolder, Record]]] = {}
    for run in request.runs:
        record = read_record(run.workdir, STAGE, "probe")
        if not len(record.step):
            raise InputError(
                f"--runs: {run.name} has no probes in metrics.jsonl; train GenSR with "
                "config.train.probe_every_steps above 0"
            )
        found.setdefault(run.name, []).append((run, record))
    return {"methods": {name: _describe(request, seeds) for name, seeds in found.items()}}


def _describe(request: Request, seeds: list[tuple[RunFolder, Record]]) -> dict[str, Any]:
    first_run, first = seeds[0]
    for run, record in seeds[1:]:
        if not np.array_equal(record.step, first.step):
            raise InputError(f"--runs: {run.workdir}: probed at other steps than the first seed of "
                             f"{run.name}; compare runs of one configuration")  # fmt: skip
    sizes = count_parameters(request, first_run)
    layers = {}
    for layer, size in sizes.items():
        cosine = np.array([record.column(COSINE + layer) for _, record in seeds])
        layers[layer] = {
            "mean": bound_seeds(cosine.mean(axis=1)),
            "later": bound_seeds(cosine[:, 1:].mean(axis=1)) if len(first.step) > 1 else None,
            "deviation": float(cosine.std(axis=1).mean()),
            "negative": float((cosine < 0).mean()),
            "random": size**-0.5,
            "curve": [float(value) for value in cosine.mean(axis=0)],
        }
    weight = first_run.config.loss.contrastive_weight
    shares = []
    for _, record in seeds:
        task, contrast = (record.column(f"norm_{loss}") for loss in ("task", "contrastive"))
        shares.append((weight * contrast / (task + weight * contrast)).mean())
    return {
        "step": first.step.tolist(),
        "seeds": len(seeds),
        "layers": layers,
        "contrast": None if np.isnan(shares).any() else bound_seeds(np.array(shares)),
    }


def count_parameters(request: Request, run: RunFolder) -> dict[str, int]:
    """Numbers of parameters in the layers that a run's probes look at."""
    task = build_task(run.config, request.dataset)
    batch = take_batch(task, request.dataset)
    key = jax.eval_shape(lambda: jax.random.key(0))
    model = jax.eval_shape(task.init, key, batch)[0]["model"]
    places = find_attention(model)
    layers = jax.eval_shape(
        lambda tree: {name: take(tree, *places[name]) for name in places}, model
    )
    return {name: sum(leaf.size for leaf in jax.tree.leaves(layers[name])) for name in places}


def format_table(results: dict[str, Any]) -> str:
    """The results as Markdown."""
    head = ["method", "layer", "mean cosine", "without the first probe", "deviation", "below 0",
            "random directions"]  # fmt: skip
    rows = [
        [name, layer, format_bounds(entry["mean"], 3), format_bounds(entry["later"], 3),
         f"{entry['deviation']:.3f}", f"{entry['negative']:.0%}", f"{entry['random']:.3f}"]
        for name, method in results["methods"].items()
        for layer, entry in method["layers"].items()
    ]  # fmt: skip
    text = format_markdown(head, rows)
    shares = [
        [name, format_bounds(method["contrast"], 3)] for name, method in results["methods"].items()
    ]
    return f"{text}\n{format_markdown(['method', 'share of the contrastive gradient'], shares)}"


def draw(path: Path, results: dict[str, Any]) -> None:
    """The cosine over the steps, a panel per layer. Raises InputError without matplotlib."""
    methods = results["methods"]
    layers = list(dict.fromkeys(layer for entry in methods.values() for layer in entry["layers"]))
    title = f"Gradient conflict: {results['dataset']['name']}"
    with open_figure(path, 1.4 + 3.3 * len(layers), 3.4, title) as figure:
        panels = figure.subplots(1, len(layers), sharey=True, squeeze=False)[0]
        for panel, layer in zip(panels, layers, strict=True):
            for number, (name, method) in enumerate(methods.items()):
                if layer not in method["layers"]:
                    continue
                color, entry = COLORS[number % len(COLORS)], method["layers"][layer]
                panel.plot(method["step"], entry["curve"], color=color, linewidth=1.2, marker=".",
                           label=plain(f"{name}: {entry['mean']['value']:.3f}"))  # fmt: skip
                panel.axhline(entry["mean"]["value"], color=color, linestyle="--", linewidth=0.8)
            panel.axhline(0, color="black", linewidth=0.8)
            panel.set_title(plain(layer), fontsize=9)
            panel.set_xlabel("step")
            panel.legend(fontsize=8)
        panels[0].set_ylabel("cosine of the tasks' gradients")
