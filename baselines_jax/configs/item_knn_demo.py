"""Item-kNN on the planted-truth synthetic dataset: every key of the method. Nothing is trained.

python -m launch.prepare --source=synthetic --preset=demo --out=datasets/demo
python -m launch.main --config=baselines_jax/configs/item_knn_demo.py --workdir=runs/item_knn_demo
"""

from __future__ import annotations

from ml_collections import ConfigDict

from common.errors import InputError


def get_config(arg: str = "") -> ConfigDict:
    """Plain item-kNN: cosine of the buyers, over the last three events."""
    if arg:
        raise InputError(f"--config, argument {arg!r}: item_knn has no ablations; leave it out")
    config = ConfigDict()
    config.method = "item_knn"
    config.seed = 0

    config.data = ConfigDict()
    config.data.path = "datasets/demo"
    config.data.split = "leave_one_out_joint"
    config.data.min_history = 1  # earlier events, of either service, that a target needs

    config.knn = ConfigDict()
    config.knn.neighbours = 200  # most similar items kept per item
    config.knn.window = 3  # the user's most recent rec events that count
    config.knn.decay = 1.0  # weight of an event, per newer one

    config.eval = ConfigDict()
    config.eval.batch_size = 512
    config.eval.filter_seen = "auto"  # or history, train, none
    config.eval.evidence = False
    return config
