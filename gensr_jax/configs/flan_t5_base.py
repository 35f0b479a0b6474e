"""GenSR on a Flan-T5 checkpoint: the size of the paper, for an accelerator.

python -m launch.main --config=gensr_jax/configs/flan_t5_base.py --config.backbone=DIR --config.data.path=DATASET --workdir=runs/gensr_base
"""  # noqa: E501

from __future__ import annotations

from ml_collections import ConfigDict

from gensr_jax.configs import base
from gensr_jax.configs.ablations import ablate


def get_config(arg: str = "") -> ConfigDict:
    """A checkpoint's weights and tokenizer, bfloat16, 200 rows a batch as released."""
    config = base.get_config()
    config.t5.size = "checkpoint"  # that of config.backbone, which has no default
    config.t5.dtype = "bfloat16"
    config.eval.batch_size = 64
    config.eval.score_rows = 6400
    return ablate(config, arg)
