"""LightGCN: user and item vectors from who took what, the collaborative view's table.

Its parameters live under "cf" of the parameter tree, its graph under "graph_*" of the constants.

Shapes: [B] batch  [n] negatives  [U] users  [I] items  [d] width
Source: LightGCN and its public PyTorch code; the graph and the default export are ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from common.data.view import candidate_items
from common.nn.losses import masked_average
from gensr_jax.graph import smooth

INIT_STD = 0.1
TABLES = ("cf/item", "cf/user")  # their full names

Arrays = Mapping[str, jax.Array]


def init_lightgcn(key: jax.Array, n_users: int, n_items: int, width: int) -> dict[str, Any]:
    """{"cf": {"user": float32 [U + 1, d], "item": float32 [I + 1, d]}}, normal of std 0.1.

    Row 0 is zero and stays so.
    """
    first, second = jax.random.split(key)
    user = INIT_STD * jax.random.normal(first, (n_users + 1, width))
    item = INIT_STD * jax.random.normal(second, (n_items + 1, width))
    return {"cf": {"user": user.at[0].set(0.0), "item": item.at[0].set(0.0)}}


def propagate(params: Any, constants: Arrays) -> tuple[jax.Array, jax.Array]:
    """The mean of all layers for users float32 [U + 1, d] and items float32 [I + 1, d]."""
    user, item = params["cf"]["user"], params["cf"]["item"]
    mix = constants["graph_mix"]
    layer = jnp.concatenate([user, item])
    mean = mix[0] * layer
    for weight in mix[1:]:
        layer = smooth(layer, constants)
        mean = mean + weight * layer
    return mean[: len(user)], mean[len(user) :]


def export_table(params: Any, constants: Arrays, form: str = "propagated") -> jax.Array:
    """The table of the collaborative view, float32 [I + 1, d]; row 0 is zero.

    form: "propagated": sqrt(d) Z / ||Z|| of the propagated vectors, so entries are of size 1; an
    item without an edge is zero. "layer0": the vectors before propagation, as the released code.
    """
    if form == "layer0":
        table: jax.Array = params["cf"]["item"]
        return table
    _, items = propagate(params, constants)
    square = jnp.square(items).sum(axis=1, keepdims=True)
    degree = jnp.diff(constants["graph_start"])[-len(items) :]
    known = (degree > 0)[:, None] & (square > 0)
    # The inner `where` keeps the gradient of a zero row finite.
    scale = jnp.sqrt(items.shape[1] / jnp.where(known, square, 1.0))
    return jnp.where(known, scale * items, 0.0)


def bpr_loss(
    params: Any, constants: Arrays, batch: Arrays, l2: float = 1e-4
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """The mean over rows of softplus(z_u . z_negative - z_u . z_positive), plus the L2 term.

    The L2 term is of the rows' own vectors before propagation: l2 / 2 times the mean sum of
    squares. Several negatives of a row are averaged.
    """
    users, items = propagate(params, constants)
    candidates = candidate_items(batch)
    scores = jnp.einsum("bd,bcd->bc", users[batch["user"]], items[candidates])
    valid = batch["valid"] != 0
    bpr = masked_average(jax.nn.softplus(scores[:, 1:] - scores[:, :1]).mean(axis=1), valid)
    own = jnp.square(params["cf"]["user"][batch["user"]]).sum(axis=-1)
    others = jnp.square(params["cf"]["item"][candidates]).sum(axis=-1)
    squares = masked_average(own + others[:, 0] + others[:, 1:].mean(axis=1), valid)
    above = masked_average((scores[:, 1:] < scores[:, :1]).mean(axis=1), valid)
    return bpr + 0.5 * l2 * squares, {"bpr": bpr, "auc": above}


def score(params: Any, constants: Arrays, batch: Arrays) -> jax.Array:
    """z_u . z_i of the candidates, float32 [B, 1 + n], in the order of `candidate_items`."""
    users, items = propagate(params, constants)
    return jnp.einsum("bd,bcd->bc", users[batch["user"]], items[candidate_items(batch)])


def score_catalogue(params: Any, constants: Arrays, batch: Arrays, items: jax.Array) -> jax.Array:
    """z_u . z_i of any items int32 [n], float32 [B, n]."""
    users, table = propagate(params, constants)
    return users[batch["user"]] @ table[items].T


def export_vectors(params: Any, constants: Arrays) -> dict[str, jax.Array]:
    """The propagated vectors as constants of a later stage, which needs no graph any more:
    `cf_user` float32 [U + 1, d] and `cf_item` float32 [I + 1, d]."""
    users, items = propagate(params, constants)
    return {"cf_user": users, "cf_item": items}


def retrieve(params: Any, constants: Arrays, batch: Arrays, items: jax.Array) -> jax.Array:
    """`score_catalogue` from `export_vectors`, float32 [B, n]: the retriever of a later stage."""
    del params
    return constants["cf_user"][batch["user"]] @ constants["cf_item"][items].T
