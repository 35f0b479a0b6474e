"""Searches of other users among a row's own, while training: evidence has to tell them apart.

Shapes: [B] batch  [M] rec events  [N] searches  [P] clicks per search
Source: ours. Search histories hold noise (abstract of arXiv 2508.04152); this adds some that is
known to be noise, without a label: the evidence likelihood and the ranking do the teaching.
"""

from __future__ import annotations

from collections.abc import Mapping

import jax
import jax.numpy as jnp


def add_distractors(
    batch: Mapping[str, jax.Array], share: float, key: jax.Array
) -> dict[str, jax.Array]:
    """The batch with searches of another row mixed in, each with probability `share`.

    A distractor stands at a random place among the row's own events, so its age says nothing. Of
    more than N searches the newest N stay, oldest first as always. A click on the row's target is
    left out of a distractor. Rows without any event of their own get none.
    """
    rows, length = batch["rec_item"].shape
    width = batch["search_query"].shape[1]
    shift_key, take_key, place_key = jax.random.split(key, 3)
    donor = (jnp.arange(rows) + jax.random.randint(shift_key, (), 1, max(rows, 2))) % rows
    query, clicks = batch["search_query"][donor], batch["search_click"][donor]
    clicks = jnp.where(clicks == batch["target"][:, None, None], 0, clicks)
    rec, mine = batch["rec_mask"] != 0, batch["search_mask"] != 0
    count = rec.sum(axis=1, keepdims=True) + mine.sum(axis=1, keepdims=True)
    taken = jax.random.bernoulli(take_key, share, query.shape)
    taken &= (batch["search_mask"][donor] != 0) & (count > 0)

    # Between two events of the row, or older or newer than all of them.
    place = jax.random.uniform(place_key, query.shape) * count - 0.5
    age = jnp.concatenate([batch["order"][:, length:].astype(jnp.float32), place], axis=1)
    age = jnp.where(jnp.concatenate([mine, taken], axis=1), age, jnp.inf)
    newest = jnp.argsort(age, axis=1)[:, :width]  # pads last
    total = jnp.isfinite(jnp.take_along_axis(age, newest, axis=1)).sum(axis=1, keepdims=True)
    slot = jnp.arange(width)
    mask = slot < total
    kept = jnp.take_along_axis(newest, jnp.where(mask, total - 1 - slot, slot), axis=1)

    def pick(own: jax.Array, other: jax.Array) -> jax.Array:
        both = jnp.concatenate([own, other], axis=1)
        return jnp.take_along_axis(both, kept if both.ndim == 2 else kept[..., None], axis=1)

    order = batch["order"]
    ages = jnp.concatenate([order[:, :length], jnp.take_along_axis(age, kept, axis=1)], axis=1)
    real = jnp.concatenate([rec, mask], axis=1)
    ages = jnp.where(real, ages, jnp.inf)
    rank = (ages[:, :, None] > ages[:, None, :]).sum(axis=2)
    return {
        **batch,
        "search_query": pick(batch["search_query"], query) * mask,
        "search_click": pick(batch["search_click"], clicks) * mask[..., None],
        "search_mask": mask.astype(batch["search_mask"].dtype),
        "order": jnp.where(real, rank, length + width).astype(order.dtype),
    }
