"""Users who buy at random: who is told the answer a minute early wins, and nobody may be told."""

import json

import numpy as np
import pytest

from launch import main as train_command
from launch import prepare

USERS, ITEMS, PURCHASES = 600, 2_000, 6
CHANCE = 10 / ITEMS


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    """Each purchase comes a minute after a search whose click it is; nothing is bought twice."""
    folder = tmp_path_factory.mktemp("shop")
    rng = np.random.default_rng(0)
    interactions, searches = ["user,item,time"], ["user,query,time,clicked"]
    for user in range(USERS):
        times = 1_700_000_000 + rng.integers(30 * 86_400) + 7_200 * np.arange(PURCHASES)
        for item, ts in zip(rng.choice(ITEMS, PURCHASES, replace=False), times, strict=True):
            interactions.append(f"u{user},i{item},{ts}")
            searches.append(f"u{user},word{rng.integers(50)},{ts - 60},i{item}")
    items = ["item", *(f"i{item}" for item in range(ITEMS))]
    for name, lines in (("interactions", interactions), ("searches", searches), ("items", items)):
        (folder / f"{name}.csv").write_text("\n".join(lines) + "\n")
    return folder


def _run(raw, tmp_path, *flags):
    """HR@10 over all items of a small LCR, and of the detector of targets in their history."""
    data, workdir = tmp_path / "data", tmp_path / "run"
    words = ["--source=tables", f"--raw={raw}", f"--out={data}", "--negatives=9", *flags]
    assert prepare.main(words) == 0
    train_command.main(
        [
            "--config=lcr_jax/configs/tiny.py", f"--config.data.path={data}",
            f"--workdir={workdir}", "--config.train.epochs=6",
            "--config.train.learning_rate=0.02", "--config.reasoner.steps=1",
            "--config.train.eval_every_epochs=3", "--config.train.checkpoint_every_steps=1000",
            "--config.train.log_every_steps=100",
        ]
    )  # fmt: skip
    results = json.loads((workdir / "results.json").read_text())
    return (
        results["tasks"]["rec"]["full"]["HR@10"],
        results["sanity"]["in_history"]["rec"]["full"]["HR@10"]["value"],
    )


@pytest.mark.slow
def test_a_click_at_its_own_time_tells_nothing(raw, tmp_path):
    found, detector = _run(raw, tmp_path)
    assert found["low"] <= CHANCE <= found["high"]
    assert detector == pytest.approx(CHANCE, rel=0.01)  # 1,995 of the items are candidates


@pytest.mark.slow
def test_the_same_run_finds_the_answer_where_a_click_counts_from_its_search_on(raw, tmp_path):
    found, detector = _run(raw, tmp_path, "--click_window=0")
    assert found["low"] > 0.3  # 0.59 [0.55, 0.63] on another draw of such users
    assert detector == 1.0
