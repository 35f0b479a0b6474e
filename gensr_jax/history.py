"""The joint history: what a user clicked in recommendation and in search, as one list.

Shapes: [B] lists  [M] rec history  [S] searches  [P] clicks per search  [N] joint history
"""

from __future__ import annotations

from collections.abc import Mapping

import jax
import jax.numpy as jnp


def join_history(batch: Mapping[str, jax.Array], length: int) -> jax.Array:
    """The newest `length` clicked items of both services, newest first: int32 [B, N], 0 pads.

    batch: with `rec_item`, `search_click` and `order` as `common.data.view.View` describes them
    A search without a click has no item and takes no place. A click stands at its search's place,
    those of one search in order of time: a batch knows which clicks came before its target, not
    when. The target's own moment is not in the batch, so it is not in here.
    Source: the paper's H_u, items clicked in search and in recommendation in time order.
    """
    return order_history(batch, length)[0]


def order_history(batch: Mapping[str, jax.Array], length: int) -> tuple[jax.Array, jax.Array]:
    """`join_history`, and where each item stands in the batch: int32 [B, N], -1 in pads.

    A place p < M is slot p of `rec_item`; M + s * P + c is click c of search slot s.
    """
    rec, clicks = batch["rec_item"], batch["search_click"]
    rows, _, per_search = clicks.shape
    order = batch["order"].astype(jnp.int32)
    rec_rank = order[:, : rec.shape[1]] * per_search
    click_rank = order[:, rec.shape[1] :, None] * per_search + jnp.arange(per_search)
    items = jnp.concatenate([rec, clicks.reshape(rows, -1)], axis=1)
    rank = jnp.concatenate([rec_rank, click_rank.reshape(rows, -1)], axis=1)
    last = order.shape[1] * per_search + per_search  # beyond every real event
    newest = jnp.argsort(jnp.where(items != 0, rank, last), axis=1, stable=True)[:, :length]
    joined = jnp.take_along_axis(items, newest, axis=1)
    place = jnp.where(joined != 0, newest.astype(jnp.int32), -1)
    pads = ((0, 0), (0, max(0, length - joined.shape[1])))
    return jnp.pad(joined, pads), jnp.pad(place, pads, constant_values=-1)
