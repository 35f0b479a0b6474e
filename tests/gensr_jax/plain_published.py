"""The released computation once more, as plain as can be: NumPy, float64, one row at a time.

Written from the description of the method and not from our model, to be compared with it. A row is
one (list, candidate); dropout is off. Parameters are our tree with its paths as names,
"cf_view/layer/inner/kernel" and so on, kernels [in, out].

Shapes: [N] history, any order  [T] title tokens  [d] CF width  [D] T5 width  [L] prompt  [V] words
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

HIDDEN = -1e16  # added to what a softmax must not see
TEMPERATURE = 0.07
CAPS = (512, 512, 512, 32, 32)

Params = Mapping[str, np.ndarray]


class Sizes(NamedTuple):
    """What the parameters' shapes do not tell."""

    heads: int  # of the two view layers
    t5_heads: int
    encoder_layers: int
    decoder_layers: int
    yes: int
    no: int


class Row(NamedTuple):
    """One candidate with what it is judged by."""

    history: Sequence[int]  # items without pads
    candidate: int
    positive: bool
    texts: Sequence[Sequence[int]]  # token ids of the prompt's five texts
    widths: Sequence[int]  # what each is padded to


class Outcome(NamedTuple):
    """What a batch of rows gives."""

    task: float
    contrast: float
    probability: np.ndarray  # of Yes, by row


def cut_texts(template: str) -> list[str]:
    """The five texts of a template, with the released mistakes."""
    head, rest = template.split("<TitleList>")
    middle, _ = rest.split("<FeatureList>")
    behind = template.split("<TargetTitle>")[1]  # to the very end, the next mark included
    name, tail = behind.split("<TargetItemID>")
    return [head, middle, behind, name, tail]


def run_rows(
    p: Params,
    sizes: Sizes,
    rows: Sequence[Row],
    cf_table: np.ndarray,
    title_head: np.ndarray,
    title_full: np.ndarray,
) -> Outcome:
    """The losses of a batch and p(Yes) of each row."""
    views, logits = [], []
    for row in rows:
        collaborative, semantic, soft = make_soft_tokens(
            p, sizes, row, cf_table, title_head, title_full
        )
        views.append((collaborative, semantic))
        logits.append(answer(p, sizes, row, soft))
    share = softmax(np.array(logits))
    right = [sizes.yes if row.positive else sizes.no for row in rows]
    task = -np.mean([np.log(share[i, token]) for i, token in enumerate(right)])
    ours = np.stack([norm_view(p, "cf_norm", pair[0]) for pair in views])
    theirs = np.stack([norm_view(p, "semantic_norm", pair[1]) for pair in views])
    similar = ours @ theirs.T / TEMPERATURE
    contrast = (diagonal_entropy(similar) + diagonal_entropy(similar.T)) / 2
    return Outcome(task, contrast, share[:, sizes.yes])


def make_soft_tokens(
    p: Params,
    sizes: Sizes,
    row: Row,
    cf_table: np.ndarray,
    title_head: np.ndarray,
    title_full: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, list[np.ndarray]]:
    """The projected CF view and the semantic view, [D] each, and the four vectors of the prompt."""
    words = p["t5/shared"]
    vector = cf_table[row.candidate]
    title = [token for token in title_full[row.candidate] if token]
    mean = words[title].sum(axis=0) / (len(title) + 1e-10) if title else np.zeros(words.shape[1])
    # Pads take no part anywhere, so only what is real is handed on.
    items = encode_view(p, "cf_view/layer", sizes.heads, cf_table[list(row.history)])
    bag = [token for item in row.history for token in title_head[item] if token]
    tokens = encode_view(p, "semantic_view/layer", sizes.heads, words[bag])
    collaborative = project(p, filter_entries(p["cf_filter/form"], items, vector))
    semantic = filter_entries(p["semantic_filter/form"], tokens, mean)
    return collaborative, semantic, [collaborative, semantic, project(p, vector), mean]


def encode_view(p: Params, place: str, heads: int, x: np.ndarray) -> np.ndarray:
    """One post-norm layer over entries [n, W]: a set, there are no positions."""
    attention = f"{place}/MultiHeadAttention_0"
    query, key, value = (linear(p, f"{attention}/{name}", x) for name in ("query", "key", "value"))
    size = x.shape[1] // heads
    mixed = np.zeros_like(x)
    for head in range(heads):
        part = slice(head * size, (head + 1) * size)
        weights = softmax(query[:, part] @ key[:, part].T / np.sqrt(size))
        mixed[:, part] = weights @ value[:, part]
    x = layer_norm(p, f"{place}/LayerNorm_0", x + linear(p, f"{attention}/out", mixed))
    inner = np.maximum(linear(p, f"{place}/inner", x), 0)
    return layer_norm(p, f"{place}/LayerNorm_1", x + linear(p, f"{place}/outer", inner))


def filter_entries(form: np.ndarray, entries: np.ndarray, candidate: np.ndarray) -> np.ndarray:
    """s_j = (H W)_j . y, no scaling; the mean of the entries by softmax of s."""
    return softmax((entries @ form) @ candidate) @ entries


def project(p: Params, vector: np.ndarray) -> np.ndarray:
    """Linear d -> D with a bias."""
    return linear(p, "projector/outer", vector)


def answer(p: Params, sizes: Sizes, row: Row, soft: Sequence[np.ndarray]) -> np.ndarray:
    """Logits [V] of the one token that T5 answers with: texts and soft tokens in turns."""
    words = p["t5/shared"]
    parts, mask = [], []
    for number, (ids, width, cap) in enumerate(zip(row.texts, row.widths, CAPS, strict=True)):
        kept = list(ids)[:cap]
        pads = width - len(kept)
        parts += [words[kept + [0] * pads]]
        mask += [True] * len(kept) + [False] * pads
        if number < len(soft):
            parts += [soft[number][None]]
            mask += [True]
    encoded = encode_prompt(p, sizes, np.concatenate(parts), np.array(mask))
    return decode_once(p, sizes, encoded, np.array(mask)) @ p["t5/head"]


def take_layer(p: Params, stack: str, number: int) -> Params:
    """The parameters of one of the layers that are stacked under a name."""
    return {name.removeprefix(f"{stack}/"): array[number] for name, array in p.items()
            if name.startswith(f"{stack}/")}  # fmt: skip


def encode_prompt(p: Params, sizes: Sizes, x: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The encoder of T5 over [L, D]."""
    length = len(x)
    table = p["t5/encoder/relative_bias"]
    bias = np.array([[table[bucket(j - i)] for j in range(length)] for i in range(length)])
    for number in range(sizes.encoder_layers):
        layer = take_layer(p, "t5/encoder/layers", number)
        normed = rms_norm(layer["attention_norm/scale"], x)
        x = x + attend(layer, "attention", sizes.t5_heads, normed, normed, mask, bias)
        x = x + feed(layer, "feed", rms_norm(layer["feed_norm/scale"], x))
    return rms_norm(p["t5/encoder/final_norm/scale"], x)


def decode_once(p: Params, sizes: Sizes, encoded: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The decoder's state [D] after its start token, id 0."""
    x = p["t5/shared"][:1]
    bias = p["t5/decoder/relative_bias"][bucket(0)][None, None]
    for number in range(sizes.decoder_layers):
        layer = take_layer(p, "t5/decoder/layers", number)
        normed = rms_norm(layer["attention_norm/scale"], x)
        itself = np.array([True])
        x = x + attend(layer, "attention", sizes.t5_heads, normed, normed, itself, bias)
        normed = rms_norm(layer["cross_norm/scale"], x)
        x = x + attend(layer, "cross", sizes.t5_heads, normed, encoded, mask, 0.0)
        x = x + feed(layer, "feed", rms_norm(layer["feed_norm/scale"], x))
    return rms_norm(p["t5/decoder/final_norm/scale"], x)[0]


def attend(
    p: Params,
    place: str,
    heads: int,
    x: np.ndarray,
    memory: np.ndarray,
    mask: np.ndarray,
    bias: np.ndarray | float,
) -> np.ndarray:
    """T5's attention from [S, D] to [L, D]: no biases, no scaling; bias [S, L, heads] or 0."""
    query, key, value = x @ p[f"{place}/q"], memory @ p[f"{place}/k"], memory @ p[f"{place}/v"]
    size = query.shape[1] // heads
    shown = np.broadcast_to(bias, (len(x), len(memory), heads))
    mixed = np.zeros_like(query)
    for head in range(heads):
        part = slice(head * size, (head + 1) * size)
        logits = query[:, part] @ key[:, part].T + shown[:, :, head]
        mixed[:, part] = softmax(np.where(mask, logits, HIDDEN)) @ value[:, part]
    return mixed @ p[f"{place}/o"]


def bucket(distance: int) -> int:
    """The two-sided bucket of key position minus query position; 32 of them, 128 the farthest."""
    after, far = 16 * (distance > 0), abs(distance)
    if far < 8:
        return after + far
    return after + min(15, 8 + int(np.floor(8 * np.log(far / 8) / np.log(16))))


def feed(p: Params, place: str, x: np.ndarray) -> np.ndarray:
    """gelu_tanh(x W0) * (x W1), then W_out."""
    gate = x @ p[f"{place}/wi_0"]
    gate = 0.5 * gate * (1 + np.tanh(np.sqrt(2 / np.pi) * (gate + 0.044715 * gate**3)))
    return (gate * (x @ p[f"{place}/wi_1"])) @ p[f"{place}/wo"]


def rms_norm(scale: np.ndarray, x: np.ndarray) -> np.ndarray:
    return x / np.sqrt((x**2).mean(axis=-1, keepdims=True) + 1e-6) * scale


def layer_norm(p: Params, place: str, x: np.ndarray) -> np.ndarray:
    centered = x - x.mean(axis=-1, keepdims=True)
    deviation = np.sqrt((centered**2).mean(axis=-1, keepdims=True) + 1e-5)
    return centered / deviation * p[f"{place}/scale"] + p[f"{place}/bias"]


def norm_view(p: Params, place: str, vector: np.ndarray) -> np.ndarray:
    """The released order: L2, then LayerNorm."""
    return layer_norm(p, place, vector / max(np.linalg.norm(vector), 1e-12))


def diagonal_entropy(similar: np.ndarray) -> float:
    return -np.mean(np.log(np.diagonal(softmax(similar))))


def linear(p: Params, place: str, x: np.ndarray) -> np.ndarray:
    return x @ p[f"{place}/kernel"] + p[f"{place}/bias"]


def softmax(x: np.ndarray) -> np.ndarray:
    shifted = np.exp(x - x.max(axis=-1, keepdims=True))
    return shifted / shifted.sum(axis=-1, keepdims=True)
