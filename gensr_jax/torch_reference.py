"""T5 in PyTorch, timed beside ours: `transformers` on random weights, as the released code uses it.

torch and transformers are nobody's dependency here; whoever asks for the comparison installs them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from common.errors import InputError
from common.runs.workload import SCORE, Reference
from gensr_jax.t5 import T5Config


def open_reference(config: T5Config, length: int, rows: Mapping[str, int]) -> Reference:
    """A step of AdamW, and a forward pass of one token.

    rows: of each, prompts of `length`. Raises InputError where a package is missing.
    """
    try:
        import torch
        import transformers
    except ImportError as error:
        raise InputError(
            f"--torch: {error.name} is not installed; pip install torch transformers"
        ) from error
    torch.manual_seed(0)
    model = transformers.T5ForConditionalGeneration(
        transformers.T5Config(
            vocab_size=config.vocab_size,
            d_model=config.width,
            d_kv=config.head_width,
            d_ff=config.ff_width,
            num_layers=config.encoder_layers,
            num_decoder_layers=config.decoder_layers,
            num_heads=config.heads,
            feed_forward_proj="gated-gelu",
            tie_word_embeddings=False,
            dropout_rate=config.dropout,
            decoder_start_token_id=config.start,
        )
    )
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)

    def make_rows(count: int) -> dict[str, Any]:
        return {
            "inputs_embeds": torch.randn(count, length, config.width),
            "attention_mask": torch.ones(count, length, dtype=torch.long),
            "decoder_input_ids": torch.zeros(count, 1, dtype=torch.long),
        }

    training, scoring = make_rows(rows["tune"]), make_rows(rows[SCORE])

    def tune() -> None:
        model.train()
        logits = model(**training).logits[:, 0]
        loss = torch.nn.functional.binary_cross_entropy_with_logits(
            logits[:, 3] - logits[:, 4], torch.zeros(rows["tune"])
        )
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()

    def score() -> None:
        model.eval()
        with torch.no_grad():
            model(**scoring)

    versions = f"torch {torch.__version__}, transformers {transformers.__version__}"
    return Reference("torch", versions, {"tune": tune, SCORE: score})
