"""T5 in PyTorch, timed beside ours: `transformers` on random weights.

On a GPU it has what makes it fast there: autocast to bfloat16 where ours computes in it, else tf32;
fused AdamW, the best attention that T5 of the installed version takes, and `torch.compile`. On a
CPU it is as the released code uses it. torch and transformers are nobody's dependency here; whoever
asks for the comparison installs them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from common.errors import InputError
from common.platform import find_platform
from common.runs.workload import SCORE, Reference
from gensr_jax.t5 import T5Config

_ATTENTIONS = ("sdpa", "eager")  # the fastest first


def open_reference(
    config: T5Config, length: int, rows: Mapping[str, int], quick: bool | None = None
) -> Reference:
    """A step of AdamW, and a forward pass of one token.

    rows:  of each, prompts of `length`
    quick: with all that makes it fast on a GPU; None = where ours and torch both see one
    Raises InputError where a package is missing.
    """
    try:
        import torch
        import transformers
    except ImportError as error:
        raise InputError(
            f"--torch: {error.name} is not installed; pip install torch transformers"
        ) from error
    on_gpu = find_platform() == "gpu" and torch.cuda.is_available()
    quick = on_gpu if quick is None else quick
    device = torch.device("cuda" if on_gpu else "cpu")
    if on_gpu:
        torch.set_float32_matmul_precision("high")
    torch.manual_seed(0)
    model, attention = make_model(transformers, config, _ATTENTIONS if quick else (None,))
    model = model.to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=quick)
    run = torch.compile(model) if quick else model
    mixed = quick and config.dtype == "bfloat16"
    cast = torch.autocast(device.type, torch.bfloat16, enabled=mixed)

    def make_rows(count: int) -> dict[str, Any]:
        return {
            "inputs_embeds": torch.randn(count, length, config.width, device=device),
            "attention_mask": torch.ones(count, length, dtype=torch.long, device=device),
            "decoder_input_ids": torch.zeros(count, 1, dtype=torch.long, device=device),
        }

    training, scoring = make_rows(rows["tune"]), make_rows(rows[SCORE])
    answers = torch.zeros(rows["tune"], device=device)

    def tune() -> None:
        model.train()
        with cast:
            logits = run(**training).logits[:, 0]
        loss = torch.nn.functional.binary_cross_entropy_with_logits(
            logits[:, 3].float() - logits[:, 4].float(), answers
        )
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()

    def score() -> None:
        model.eval()
        with torch.no_grad(), cast:
            run(**scoring)

    return Reference(
        "torch",
        f"torch {torch.__version__}, transformers {transformers.__version__}",
        {"tune": tune, SCORE: score},
        {
            "device": torch.cuda.get_device_name() if on_gpu else "cpu",
            "autocast": "bfloat16" if mixed else "none",
            "float32_products": torch.get_float32_matmul_precision(),
            "optimizer": "AdamW, fused" if quick else "AdamW",
            "attention": attention,
            "compiled": quick,
        },
        torch.cuda.synchronize if on_gpu else lambda: None,
    )


def make_model(transformers: Any, config: T5Config, attentions: Any) -> tuple[Any, str]:
    """The model with the first attention that it takes, None = its own choice, and which that is.

    Raises what `transformers` raises where it takes none.
    """
    settings = transformers.T5Config(
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
    for attention in attentions:
        chosen = {} if attention is None else {"attn_implementation": attention}
        try:
            model = transformers.T5ForConditionalGeneration._from_config(settings, **chosen)
        except (ValueError, ImportError):  # an older version has no such attention for T5
            if attention == attentions[-1]:
                raise
            continue
        return model, str(model.config._attn_implementation)
    raise ValueError("attentions: none was given")
