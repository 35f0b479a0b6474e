"""Item-kNN on the planted-truth synthetic dataset: nothing is trained.

python -m launch.prepare --source=synthetic --preset=demo --out=datasets/demo
python -m launch.main --config=baselines_jax/configs/item_knn_demo.py --workdir=runs/item_knn_demo
"""

from __future__ import annotations

from ml_collections import ConfigDict

from baselines_jax.settings import ItemKnn
from common.configs.ablations import apply_ablations
from common.configs.making import make_config


def get_config(arg: str = "") -> ConfigDict:
    """Plain item-kNN."""
    config = make_config(ItemKnn())
    config.data.path = "datasets/demo"
    return apply_ablations(config, arg, {})
