"""The path of the README on real data: a few hundred users of Amazon Beauty, upstream files."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from common.ranking.results import read_results, validate_results
from launch import audit, prepare
from launch import main as train_command

ROOT = Path(__file__).resolve().parents[2]
RAW = ROOT / ".." / "shared/data/amazon_beauty_2014"
USERS = 400

pytestmark = pytest.mark.skipif(not RAW.is_dir(), reason="the real data is not beside the project")


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    """The reviews of every 40th user, and all metadata, in the upstream format."""
    folder = tmp_path_factory.mktemp("raw")
    with gzip.open(RAW / "reviews_Beauty_5.json.gz", "rt") as file:
        lines = file.readlines()
    users = sorted({json.loads(line)["reviewerID"] for line in lines})
    chosen = set(users[:: len(users) // USERS][:USERS])
    with gzip.open(folder / "reviews_Beauty_5.json.gz", "wt") as file:
        file.writelines(line for line in lines if json.loads(line)["reviewerID"] in chosen)
    (folder / "meta_Beauty.json.gz").write_bytes((RAW / "meta_Beauty.json.gz").read_bytes())
    return folder


def test_prepare_audit_train_evaluate(raw, tmp_path, capsys):
    data, workdir = tmp_path / "beauty", tmp_path / "run"
    words = ["--source=amazon_2014", f"--raw={raw}", f"--out={data}", "--category=Beauty"]
    assert prepare.main([*words, "--negatives=49"]) == 0
    assert f"users         {USERS}" in capsys.readouterr().out
    assert audit.main([f"--data={data}"]) == 0
    code = train_command.main(
        [
            f"--config={ROOT / 'lcr_jax/configs/beauty.py'}",
            f"--config.data.path={data}",
            "--config.train.epochs=2",
            "--config.train.batch_size=128",
            "--config.model.width=16",
            f"--workdir={workdir}",
            "--notensorboard",
        ]
    )
    assert code == 0
    results = read_results(workdir / "results.json")
    validate_results(results)
    assert results["protocol"]["history_order"] == "time"
    rows = results["protocol"]["rows"]["rec"]
    assert 0.5 * USERS < rows <= USERS
    for protocol in ("uniform49", "popularity49"):  # Beauty has no repeats: exactly chance
        chance = results["sanity"]["in_history"]["rec"][protocol]["HR@10"]["value"]
        assert chance == pytest.approx(10 / 50, abs=1e-12)
    assert "evidence" not in results
