"""Item-kNN on Amazon Beauty 2014 (5-core).

python -m launch.prepare --source=amazon_2014 --raw=DIR --out=datasets/beauty --category=Beauty
python -m launch.main --config=baselines_jax/configs/item_knn_beauty.py --workdir=runs/item_knn
"""

from __future__ import annotations

from ml_collections import ConfigDict

from baselines_jax.configs import item_knn_demo


def get_config(arg: str = "") -> ConfigDict:
    """The defaults, on Beauty."""
    config = item_knn_demo.get_config(arg)
    config.data.path = "datasets/beauty"
    return config
