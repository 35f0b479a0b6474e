"""Space: do the two tasks use other parameters of the encoder, and other states? GenSR and twin.

gradients  one point per batch of one task: the gradient of its loss in T5's encoder, brought to
           1,024 numbers (each parameter is added to a random one of them with a random sign, which
           keeps angles without a matrix of that size) and to length 1.
           Near the end of training most of it is noise of the batch: hold the share of variance
           against the one by chance
masks      the 5 % of a layer's parameters with the largest mean |gradient * parameter|, for each
           task; two random masks overlap by 0.026. "one task" is the overlap of two halves of
           the batches of one task: what the same task comes to with this many batches
states     last states of the same user, item and history, asked for as a search and as a
           recommendation. The search prompt has the query in it, in the twin as well, so a probe
           may tell them apart by that alone; compare how far apart they lie

The batches are training rows, the same for all runs, without dropout; the states are of test rows.
Shapes: [n] batches or lists  [P] encoder parameters
Source: the paper's picture; its recipe is not public, this one is ours.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from common.data.batches import choose_training_rows, training_source
from common.data.hashing import SUBSET, draw_uniform
from common.report.pictures import COLORS, open_figure, plain
from common.report.tables import format_markdown
from common.runs.measures import Request
from common.training.mesh import put_batch
from gensr_jax.probe import take
from gensr_jax.states import encoder_gradient
from gensr_jax.studies.generative import (
    Generative,
    check_generative,
    draw_lists,
    open_generative,
    read_lists,
)
from gensr_jax.studies.space_measures import (
    RANDOM_OVERLAP,
    mask_largest,
    overlap,
    probe_groups,
    project,
    share_between,
    silhouette,
)

TASKS = ("rec", "search")
BATCHES = 48  # of each task
BATCH_SIZE = 32  # lists
SKETCH = 1024
LISTS = 1000  # of which the states are read
PICTURES = {"gradient": "gradients", "state": "states"}
FIGURES = {
    "gradient_share": "gradients: variance between tasks",
    "gradient_silhouette": "silhouette",
    "mask_overlap": "masks: overlap of tasks",
    "mask_one_task": "of one task",
    "state_share": "states: variance between tasks",
    "state_silhouette": "silhouette",
    "probe": "probe",
}


class Gradients(NamedTuple):
    """What the batches of one task left."""

    points: np.ndarray  # float32 [n, SKETCH], of length 1
    importance: dict[str, np.ndarray]  # layer -> float64 [2, P of the layer], of two halves


def measure(request: Request) -> dict[str, Any]:
    """{"chance", "batches", "lists", "methods": {name: entry}}.

    An entry has each figure of `FIGURES` as {value, low, high}: the mean over seeds, the lowest and
    the highest; "layers": {layer: {"overlap", "one_task"}} likewise; and of its first seed
    "pictures": {each of `PICTURES`: {"points" [n, 2], "search" bool [n], "shares" of the two
    directions}}. Raises InputError for runs of other methods.
    """
    check_generative(request)
    found: dict[str, list[dict[str, Any]]] = {}
    lists = draw_lists(request, "search", "test", LISTS)
    for run in request.runs:
        model = open_generative(request, run)
        gradients = {task: collect_gradients(request, model, task) for task in TASKS}
        entry = {**_compare_gradients(gradients), **_compare_states(request, model, lists)}
        found.setdefault(run.name, []).append(entry)
    return {
        "chance": {"mask_overlap": RANDOM_OVERLAP, "gradient_share": 1 / (2 * BATCHES - 1),
                   "state_share": 1 / (2 * len(lists.rows) - 1), "probe": 0.5},
        "batches": BATCHES,
        "batch_size": BATCH_SIZE,
        "lists": len(lists.rows),
        "methods": {name: _join(seeds) for name, seeds in found.items()},
    }  # fmt: skip


def collect_gradients(request: Request, model: Generative, task: str) -> Gradients:
    """Gradients of one task over `BATCHES` batches of training rows, fixed by `request.seed`.

    Only sketches and sums are kept. A task of few rows is read again, with other negatives.
    """
    view = replace(model.view, task=task)
    rows = len(choose_training_rows(request.dataset, view))
    epochs = -(-BATCHES // -(-rows // BATCH_SIZE))
    source = training_source(request.dataset, view, BATCH_SIZE, request.seed, epochs)
    encoder = model.params["t5"]["encoder"]
    sketch = make_sketch(encoder, request.seed)
    drawn: list[np.ndarray] = []
    totals: list[Any] = []
    for step in range(BATCHES):
        batch = put_batch(request.mesh, source[step])
        gradient = _gradient(model.module, model.loss, model.params, model.constants, batch, task)
        drawn.append(np.asarray(sketch(gradient)))
        used = jax.tree.map(lambda g, p: jnp.abs(g * p), gradient, encoder)
        half = step % 2
        if len(totals) <= half:
            totals.append(used)
        else:
            totals[half] = jax.tree.map(jnp.add, totals[half], used)
    layers = {
        str(number + 1): np.stack([_flatten(take(total, ["layers"], number)) for total in totals])
        for number in range(len(jax.tree.leaves(encoder["layers"])[0]))
    }
    points = np.stack(drawn)
    lengths = np.linalg.norm(points, axis=1, keepdims=True)
    return Gradients(points / np.maximum(lengths, 1e-30), layers)


_gradient = jax.jit(encoder_gradient, static_argnums=(0, 1, 5))


def make_sketch(tree: Any, seed: int) -> Callable[[Any], jax.Array]:
    """A random projection of trees like `tree` to float32 [SKETCH] that keeps inner products.

    Source: count sketch, Charikar, Chen and Farach-Colton, ICALP 2002.
    """
    size = sum(leaf.size for leaf in jax.tree.leaves(tree))
    place, sign = jax.random.split(jax.random.key(seed))
    places = jax.random.randint(place, (size,), 0, SKETCH)
    signs = jax.random.rademacher(sign, (size,), jnp.float32)
    return partial(_sketch, places, signs)


@jax.jit
def _sketch(places: jax.Array, signs: jax.Array, tree: Any) -> jax.Array:
    flat = jnp.concatenate([jnp.ravel(leaf) for leaf in jax.tree.leaves(tree)])
    return jax.ops.segment_sum(flat * signs, places, SKETCH)


def _flatten(tree: Any) -> np.ndarray:
    return np.concatenate([np.asarray(leaf, np.float64).ravel() for leaf in jax.tree.leaves(tree)])


def _compare_gradients(gradients: dict[str, Gradients]) -> dict[str, Any]:
    rec, search = (gradients[task] for task in TASKS)
    points = np.concatenate([rec.points, search.points])
    is_search = np.arange(len(points)) >= len(rec.points)
    layers = {}
    for name in rec.importance:
        masks = [mask_largest(one.importance[name].sum(axis=0)) for one in (rec, search)]
        halves = [
            overlap(*(mask_largest(half) for half in one.importance[name])) for one in (rec, search)
        ]
        layers[name] = {
            "overlap": overlap(*masks), "one_task": float(np.mean(halves)),
        }  # fmt: skip
    return {
        "gradient_share": share_between(points, is_search),
        "gradient_silhouette": silhouette(points, is_search),
        "gradient": _picture(points, is_search),
        "mask_overlap": float(np.mean([layer["overlap"] for layer in layers.values()])),
        "mask_one_task": float(np.mean([layer["one_task"] for layer in layers.values()])),
        "layers": layers,
    }


def _compare_states(request: Request, model: Generative, lists: Any) -> dict[str, Any]:
    """The targets' states under both prompts; the probe is fitted on half of the users."""
    alone = lists._replace(negatives=lists.negatives[:, :0])
    states = [read_lists(request, model, alone, as_rec).state[:, 0] for as_rec in (True, False)]
    points = np.concatenate(states)
    is_search = np.arange(len(points)) >= len(alone.rows)
    fit = np.tile(draw_uniform(request.seed, SUBSET, lists.users, 3) < 0.5, 2)
    return {
        "state_share": share_between(points, is_search),
        "state_silhouette": silhouette(points, is_search),
        "probe": probe_groups(points, is_search, fit),
        "state": _picture(points, is_search),
    }


def _picture(points: np.ndarray, is_search: np.ndarray) -> dict[str, Any]:
    coordinates, shares = project(points)
    return {
        "points": np.round(coordinates, 4).tolist(), "search": is_search.tolist(), "shares": shares,
    }  # fmt: skip


def _join(seeds: list[dict[str, Any]]) -> dict[str, Any]:
    def join(values: list[float]) -> dict[str, float]:
        return {"value": float(np.mean(values)), "low": min(values), "high": max(values)}

    return {
        "seeds": len(seeds),
        **{figure: join([seed[figure] for seed in seeds]) for figure in FIGURES},
        "layers": {
            name: {
                key: join([seed["layers"][name][key] for seed in seeds if name in seed["layers"]])
                for key in layer
            }
            for name, layer in seeds[0]["layers"].items()
        },
        "pictures": {name: seeds[0][name] for name in PICTURES},
    }


def format_table(results: dict[str, Any]) -> str:
    """The results as Markdown."""
    methods, chance = results["methods"], results["chance"]
    head = ["method", *FIGURES.values()]
    rows = [[name, *(_cell(entry[key]) for key in FIGURES)] for name, entry in methods.items()]
    rows.append(["by chance", *(f"{chance[k]:.3f}" if k in chance else "-" for k in FIGURES)])
    text = (
        f"Gradients of {results['batches']} batches of {results['batch_size']} lists per task; "
        f"states of {results['lists']:,} test searches, asked for with and without their query.\n"
        "Brackets: lowest and highest seed.\n\n"
    )
    text += format_markdown(head, rows)
    rows = [
        [name, layer, _cell(entry["overlap"]), _cell(entry["one_task"])]
        for name, method in methods.items()
        for layer, entry in method["layers"].items()
    ]
    head = ["overlap of masks", "encoder layer", "rec and search", "halves of one task"]
    return text + "\n" + format_markdown(head, rows)


def _cell(entry: dict[str, float]) -> str:
    text = f"{entry['value']:.3f}"
    if entry["high"] > entry["low"]:
        text += f" [{entry['low']:.3f}, {entry['high']:.3f}]"
    return text


def draw(path: Path, results: dict[str, Any]) -> None:
    """One column per method: gradients, overlap of masks, states. Raises InputError without
    matplotlib."""
    methods = results["methods"]
    title = f"Two tasks in the encoder: {results['dataset']['name']}"
    with open_figure(path, 1.2 + 3.9 * len(methods), 9.2, title) as figure:
        panels = figure.subplots(3, len(methods), squeeze=False)
        for column, (name, entry) in zip(panels.T, methods.items(), strict=True):
            for panel, kind in zip(column[[0, 2]], PICTURES, strict=True):
                _scatter(panel, entry["pictures"][kind])
                share = entry[f"{kind}_share"]["value"]
                chance = results["chance"][f"{kind}_share"]
                panel.set_title(f"{PICTURES[kind]}: {share:.1%} of variance by task "
                                f"(chance {chance:.1%})", fontsize=9)  # fmt: skip
            column[0].set_title(plain(f"{name}\n{column[0].get_title()}"), fontsize=9)
            _draw_layers(column[1], entry["layers"], results["chance"]["mask_overlap"])
            column[2].text(0.02, 0.98, f"linear probe {entry['probe']['value']:.1%}", fontsize=8,
                           transform=column[2].transAxes, va="top")  # fmt: skip
        panels[1, 0].set_ylabel("overlap (Jaccard)")
        panels[1, 0].legend(fontsize=8)
        handles, labels = panels[0, 0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=2, fontsize=9)


def _scatter(panel: Any, picture: dict[str, Any]) -> None:
    points, is_search = np.array(picture["points"]), np.array(picture["search"])
    size = 14 if len(points) <= 200 else 5
    for task, color, part in zip(TASKS, COLORS, (~is_search, is_search), strict=False):
        panel.scatter(*points[part].T, s=size, color=color, alpha=0.6, linewidths=0, label=task)
    panel.set_xlabel(f"direction 1 ({picture['shares'][0]:.0%})", fontsize=8)
    panel.set_ylabel(f"direction 2 ({picture['shares'][1]:.0%})", fontsize=8)
    panel.tick_params(labelsize=7)


def _draw_layers(panel: Any, layers: dict[str, Any], chance: float) -> None:
    at = np.arange(len(layers))
    for number, (key, label) in enumerate(
        (("overlap", "rec and search"), ("one_task", "halves of one task"))
    ):
        panel.bar(at + 0.38 * number - 0.19, [layer[key]["value"] for layer in layers.values()],
                  0.36, color=(COLORS[2], "#bbbbbb")[number], label=label)  # fmt: skip
    panel.axhline(chance, color="black", linestyle=":", linewidth=0.9)
    panel.set_xticks(at, list(layers))
    panel.set_ylim(0, 1)
    panel.set_xlabel(f"encoder layer (dotted: random masks, {chance:.3f})", fontsize=8)
    panel.set_title("masks of the 5 % that matter most", fontsize=9)
