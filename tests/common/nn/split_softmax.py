"""The fused softmax on meshes of 8 devices; prints values, gradients and what the devices exchange.

python split_softmax.py
"""

import json
import re
from typing import Any

import jax
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from common.nn import losses, shards
from common.platform import made_for
from common.training.mesh import DATA, MODEL, read_mesh

ROWS, ITEMS, WIDTH = 40, 24, 6
CASES = [
    (platform, mesh)
    for platform in ("cpu", "gpu")
    for mesh in ("data:1", "data:8", "data:4,model:2")
]


def run(platform: str, text: str) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    mesh = read_mesh(text)
    rows, table = (NamedSharding(mesh, PartitionSpec(axis)) for axis in (DATA, MODEL))
    inputs = (
        jax.device_put(rng.normal(size=(ROWS, WIDTH)).astype(np.float32), rows),
        jax.device_put(rng.normal(size=(ITEMS, WIDTH)).astype(np.float32), table),
        jax.device_put(rng.integers(1, ITEMS, ROWS).astype(np.int32), rows),
        jax.device_put(np.arange(ROWS) % 3 != 1, rows),
    )

    def loss(*inputs: jax.Array) -> jax.Array:
        with jax.sharding.use_abstract_mesh(mesh.abstract_mesh), made_for(platform):
            return losses.fused_softmax(*inputs)

    compiled = jax.jit(jax.value_and_grad(loss, (0, 1))).lower(*inputs).compile()
    value, grads = compiled(*inputs)
    exchanged = re.findall(r"= \w+\[([\d,]*)\]\S* (all-\w+)", compiled.as_text())
    return {
        "value": float(value),
        "grads": [np.asarray(grad).tolist() for grad in grads],
        "gathered": [shape for shape, kind in exchanged if kind == "all-gather"],
    }


def main() -> None:
    jax.config.update("jax_platforms", "cpu")
    jax.config.update("jax_num_cpu_devices", 8)
    assert (shards.ROWS_AXIS, shards.TABLE_AXIS) == (DATA, MODEL)
    assert shards.count_shards(ROWS) == 1  # no mesh around
    with jax.sharding.use_abstract_mesh(read_mesh("data:8").abstract_mesh):
        assert (shards.count_shards(ROWS), shards.count_shards(ROWS + 1)) == (8, 1)
    losses.BLOCK = 8  # five blocks on one device
    print(json.dumps({f"{platform} {mesh}": run(platform, mesh) for platform, mesh in CASES}))


if __name__ == "__main__":
    main()
