"""Makes t5_golden.npz: what the reference T5 of `transformers` computes on a tiny network.

Run it in an environment of its own (not needed to test):

    python -m pip install torch==2.13.0 transformers==5.23.0
    python tests/golden/make_t5_golden.py

The weights are not stored. They follow from the names and shapes of the tensors, by the raw stream
of PCG64, which NumPy guarantees not to change; the tests make them again from here.

The file holds `logits` [3, 5, V], `grad/NAME` (the gradient of `sum(logits * direction)` for each
tensor NAME, in the checkpoint's layout), and `encoder_buckets`, `decoder_buckets` [401]: the bucket
of key position minus query position = -200 .. 200.
"""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np

GOLDEN = Path(__file__).with_name("t5_golden.npz")
# 3 heads x 6 are not the width 24, and the decoder has another number of layers: no mix-up hides.
CONFIG = {
    "model_type": "t5",
    "vocab_size": 50,
    "d_model": 24,
    "num_heads": 3,
    "d_kv": 6,
    "d_ff": 32,
    "num_layers": 2,
    "num_decoder_layers": 3,
    "feed_forward_proj": "gated-gelu",
    "tie_word_embeddings": False,
    "dropout_rate": 0.1,
    "pad_token_id": 0,
    "eos_token_id": 1,
    "decoder_start_token_id": 0,
}


def make_numbers(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Numbers of variance 1 that only depend on a name and a shape: float32."""
    raw = np.random.PCG64(zlib.crc32(name.encode())).random_raw(int(np.prod(shape)))
    uniform = (raw >> np.uint64(11)) * 2.0**-53
    return ((2 * uniform - 1) * np.sqrt(3)).reshape(shape).astype(np.float32)


def make_weight(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """A tensor of the checkpoint, of the size that T5 starts from or a little more."""
    numbers = make_numbers(name, shape)
    if "layer_norm" in name:
        return 1 + 0.3 * numbers
    if "shared" in name or "relative" in name:
        return numbers
    return numbers * np.float32(shape[1] ** -0.5)


def make_inputs() -> dict[str, np.ndarray]:
    """Three rows: full, with pads at the end, with pads inside; longer than 128 positions."""
    ids = 2 + (np.abs(make_numbers("ids", (3, 150))) * 1e4).astype(np.int32) % 48
    mask = np.ones((3, 150), np.int32)
    mask[1, 9:] = 0
    mask[2, 20:100] = 0
    mask[2, 140:] = 0
    decoder_ids = 2 + (np.abs(make_numbers("decoder_ids", (3, 5))) * 1e4).astype(np.int32) % 48
    decoder_ids[:, 0] = 0
    return {
        "input_ids": np.where(mask == 1, ids, 0),
        "attention_mask": mask,
        "decoder_input_ids": decoder_ids,
    }


def main() -> None:
    import torch
    from transformers import T5Config, T5ForConditionalGeneration
    from transformers.models.t5.modeling_t5 import T5Attention

    model = T5ForConditionalGeneration(T5Config(**CONFIG)).eval()
    # This version builds every T5 with a tied head and unties it when it loads a v1.1 checkpoint.
    model.lm_head.weight = torch.nn.Parameter(torch.empty_like(model.shared.weight))
    weights = dict(model.named_parameters())
    with torch.no_grad():
        for name, weight in weights.items():
            weight.copy_(torch.tensor(make_weight(name, tuple(weight.shape))))
    inputs = {name: torch.tensor(value).long() for name, value in make_inputs().items()}
    logits = model(**inputs).logits
    (logits * torch.tensor(make_numbers("direction", tuple(logits.shape)))).sum().backward()
    distance = torch.arange(-200, 201)
    golden = {"logits": logits.detach().numpy()}
    golden |= {f"grad/{name}": weight.grad.numpy() for name, weight in weights.items()}
    for stack, both_sides in (("encoder", True), ("decoder", False)):
        buckets = T5Attention._relative_position_bucket(distance, both_sides, 32, 128)
        golden[f"{stack}_buckets"] = buckets.numpy().astype(np.int8)
    np.savez_compressed(GOLDEN, **golden)
    print(f"{GOLDEN}: {GOLDEN.stat().st_size:,} bytes, logits up to {logits.abs().max():.3g}")


if __name__ == "__main__":
    main()
