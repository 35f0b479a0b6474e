"""A run's folder: which command it takes, which it refuses, and what it says of itself."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from common.errors import InputError
from common.runs.folder import check_workdir, claim_workdir, open_folder, was_judged
from common.settings.reading import as_values
from common.settings.roles import describe_evaluation
from gensr_jax.settings import Settings

LISTS = ["list.joint.uniform9.rec.valid"]


def make_config(rate=0.1, path="a", batch_size=8, **changes):
    base = Settings()
    return replace(
        base,
        data=replace(base.data, path=path),
        train=replace(base.train, learning_rate=rate),
        eval=replace(base.eval, batch_size=batch_size, retrieve=0),
        **changes,
    )


def make_data(**changes):
    """A dataset's entry; changes: hashes of parts, _ for the dot."""
    parts = {"tables": "a" * 64, "history": "b" * 64, "split.joint": "c" * 64}
    parts |= {"list.joint.uniform9.rec.valid": "d" * 64, "list.joint.uniform9.rec.test": "e" * 64}
    parts |= {name.replace("_", "."): value for name, value in changes.items()}
    return {"name": "made-up", "split": "joint", "parts": parts}


def refuse(workdir, config=None, data=None, **options):
    with pytest.raises(InputError) as error:
        check_workdir(workdir, config or make_config(), data or make_data(), **options)
    assert str(error.value).startswith(f"{workdir}: holds another run: ")
    return str(error.value).removeprefix(f"{workdir}: holds another run: ")


def test_a_workdir_takes_the_same_run_again(tmp_path):
    assert check_workdir(tmp_path / "run", make_config(), make_data()) is None
    claim_workdir(tmp_path / "run", make_config(), make_data())
    before = (tmp_path / "run" / "config.json").read_text()
    claim_workdir(tmp_path / "run", make_config(path="moved"), make_data())
    assert (tmp_path / "run" / "config.json").read_text() == before
    assert json.loads(before)["config"]["train"]["learning_rate"] == 0.1
    assert check_workdir(tmp_path / "run", make_config(), make_data()) == make_data()


def test_a_run_from_before_a_key_of_the_machine_goes_on(tmp_path):
    claim_workdir(tmp_path, make_config(), make_data())
    path = tmp_path / "config.json"
    saved = json.loads(path.read_text())
    del saved["config"]["accumulate"]
    path.write_text(json.dumps(saved))
    assert check_workdir(tmp_path, make_config(), make_data())
    newer = make_config(accumulate=2)
    assert "config.accumulate is 1 there and 2 here; use another" in refuse(tmp_path, newer)


def test_a_workdir_of_another_run_is_refused_with_every_difference(tmp_path):
    claim_workdir(tmp_path, make_config(), make_data())
    before = (tmp_path / "config.json").read_text()
    with pytest.raises(InputError) as error:
        claim_workdir(tmp_path, make_config(rate=0.2), make_data(split_joint="1" * 64))
    assert str(error.value) == (
        f"{tmp_path}: holds another run: config.train.learning_rate is 0.1 there and 0.2 here; "
        "the split joint is cccccccccccc there and 111111111111 here; "
        "use another --workdir, or the same settings to go on"
    )
    assert (tmp_path / "config.json").read_text() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.json"]


@pytest.mark.parametrize("part", ["tables", "history", "split_joint"])
@pytest.mark.parametrize("evaluates", [False, True])
def test_tables_history_and_split_are_always_those_of_the_run(part, evaluates, tmp_path):
    claim_workdir(tmp_path, make_config(), make_data())
    line = refuse(tmp_path, data=make_data(**{part: "1" * 64}), evaluates=evaluates)
    assert part.split("_")[0] in line
    assert "there and 111111111111 here; " in line
    assert line.endswith("--mode=evaluate --evaluate_on=DIR") == evaluates


def test_lists_bind_a_training_that_is_judged_by_them(tmp_path):
    claim_workdir(tmp_path, make_config(), make_data())
    test, valid = (
        make_data(**{f"list_joint_uniform9_rec_{part}": "1" * 64}) for part in ("test", "valid")
    )
    assert check_workdir(tmp_path, make_config(), test, lists=LISTS)
    assert check_workdir(tmp_path, make_config(), valid, evaluates=True) == make_data()
    line = refuse(tmp_path, data=valid, lists=LISTS)
    assert line.startswith("the list uniform9 of rec valid is dddddddddddd there and 111111111111")
    gone = make_data()
    del gone["parts"][LISTS[0]]
    claim_workdir(tmp_path / "gone", make_config(), gone)
    line = refuse(tmp_path / "gone", lists=LISTS)
    assert line.startswith("the list uniform9 of rec valid is absent there and dddddddddddd here")


def test_evaluation_keys_are_free_where_nothing_is_trained(tmp_path):
    claim_workdir(tmp_path, make_config(), make_data())
    other = make_config(batch_size=16, retriever="runs/lcr")
    assert check_workdir(tmp_path, other, make_data(), evaluates=True)
    line = refuse(tmp_path, other)
    assert "config.eval.batch_size is 8 there and 16 here; config.retriever is " in line
    assert "config.train.learning_rate" in refuse(tmp_path, make_config(rate=1.0), evaluates=True)
    assert describe_evaluation(other) == {
        "eval.batch_size": 16, "eval.filter_seen": "auto", "eval.evidence": False,
        "eval.retrieve": 0, "retriever": "runs/lcr",
    }  # fmt: skip


def test_results_of_other_lists_or_settings_are_not_those_of_the_run(tmp_path):
    path = tmp_path / "results.json"
    assert not was_judged(path, make_config(), make_data())
    told = {"evaluated_on": make_data(), "evaluation": describe_evaluation(make_config())}
    path.write_text(json.dumps(told))
    assert was_judged(path, make_config(), make_data())
    assert not was_judged(path, make_config(batch_size=9), make_data())
    assert not was_judged(path, make_config(), make_data(list_joint_uniform9_rec_test="1" * 64))
    path.write_text("{}")
    assert not was_judged(path, make_config(), make_data())


def test_a_run_of_an_older_version_is_refused(tmp_path):
    saved = {"config": as_values(make_config()), "dataset_sha256": "a" * 64}
    (tmp_path / "config.json").write_text(json.dumps(saved))
    message = (
        "config.json: made by an older version, which did not store its split, .*; train again"
    )
    with pytest.raises(InputError, match=message):
        check_workdir(tmp_path, make_config(), make_data(), evaluates=True)
    with pytest.raises(InputError, match=message):
        open_folder("run", tmp_path)


def test_an_unreadable_workdir_is_refused(tmp_path):
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(InputError, match=r"config\.json: is no JSON .*; use another --workdir"):
        claim_workdir(tmp_path, make_config(), make_data())
