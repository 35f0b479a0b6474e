"""Checkpoints: which are kept, what is damaged, and what a run goes on from."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from common.errors import InputError
from common.training.checkpoints import (
    ASIDE,
    Checkpoints,
    list_steps,
    read_record,
)
from common.training.checksums import LISTING, CutShort, check_files, write_checksums
from common.training.fit import check_fingerprint
from common.training.mesh import make_mesh
from common.training.restore import load_params, restore_newest
from common.training.sharding import place_shapes
from common.training.state import Progress, StageSummary, TrainState, derive_key

STEPS = (5, 10, 15, 20, 30, 40)
PRINT = {"config": {"width": 4}, "dataset": "abc"}


def make_state(number, rows=5):
    params = {"table": jnp.full((rows, 3), float(number)), "bias": jnp.full((3,), -float(number))}
    moments = ({"mu": jnp.full((rows, 3), 0.5)}, (), jnp.int32(number))
    return TrainState(jnp.int32(number), params, moments)


def describe(progress, **changes):
    return place_shapes(make_state(0, **changes), make_mesh(jax.devices()[:1]), {})


def make_progress(step, best, former=5):
    return Progress(
        stage_name="fit", step=step, evaluated_step=step, position={"e": 1},
        best_step=best, best_value=0.5, former_best_step=former, former_best_value=0.25,
    )  # fmt: skip


@pytest.fixture
def folder(tmp_path):
    """Checkpoints 5, 10, ..., 40 were saved; 10 is the best, and 5 was before."""
    with Checkpoints(tmp_path / "checkpoints") as checkpoints:
        for step in STEPS:
            checkpoints.save(make_state(step), make_progress(step, best=min(step, 10)), PRINT)
    return tmp_path / "checkpoints"


def restore(folder, **changes):
    with Checkpoints(folder) as checkpoints:
        return restore_newest(checkpoints, lambda p: describe(p, **changes), PRINT)


def test_the_latest_three_the_best_and_the_one_before_it_are_kept(folder):
    assert list_steps(folder) == [5, 10, 20, 30, 40]
    state, progress = restore(folder)
    assert progress == make_progress(40, best=10)
    jax.tree.map(np.testing.assert_array_equal, state, make_state(40))


def test_progress_survives_json():
    summary = StageSummary("a", 4, "fit", 0.25, 4, "epochs", 0.1)
    progress = replace(make_progress(10, 10), stages=(summary,), rate_scale=0.1)
    assert Progress.from_json(json.loads(json.dumps(progress.to_json()))) == progress


def test_no_checkpoint_yet(tmp_path):
    assert restore(tmp_path / "checkpoints") is None
    assert list_steps(tmp_path / "nowhere") == []


def test_saving_a_step_again_replaces_it(folder):
    with Checkpoints(folder) as checkpoints:
        checkpoints.save(make_state(99), make_progress(40, best=40), PRINT)
    state, progress = restore(folder)
    assert progress.best_step == 40
    assert float(state.params["table"][0, 0]) == 99.0


def test_a_relative_folder_works(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with Checkpoints(Path("run/checkpoints")) as checkpoints:
        checkpoints.save(make_state(1), make_progress(1, best=1), PRINT)
    assert list_steps(tmp_path / "run/checkpoints") == [1]


def kinds_of_files(folder):
    """One file of each kind in a checkpoint, the largest data file among them."""
    kinds = {}
    for file in sorted((folder / "40").rglob("*"), key=lambda f: f.stat().st_size):
        if file.is_file():
            parts = file.relative_to(folder / "40").parts
            kinds[parts[0], parts[-2] if parts[-2:-1] == ("d",) else parts[-1]] = file
    return list(kinds.values())


def test_any_file_cut_short_falls_back_to_the_checkpoint_before(folder, capsys, flip_a_bit):
    spare = folder.with_name("spare")
    shutil.copytree(folder, spare)
    files = kinds_of_files(folder)
    assert len(files) >= 8
    for file in files:
        for damage in (cut_in_half, flip_a_bit, Path.unlink):
            shutil.rmtree(folder)
            shutil.copytree(spare, folder)
            damage(file)
            state, progress = restore(folder)
            assert progress.step == 30, file
            assert int(state.step) == 30
            warning = capsys.readouterr().err
            killed = damage is Path.unlink and file.name == LISTING
            assert f"warning: {folder / '40'}: damaged (" in warning
            assert f"; {'deleted' if killed else 'moved to damaged/'}, going on from 30" in warning
            assert list_steps(folder) == [5, 10, 20, 30]
            assert (folder / ASIDE / "40").is_dir() != killed


def cut_in_half(file):
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def test_two_files_that_changed_places_and_one_too_many_are_found(folder):
    first, second = (folder / "40" / part / "_METADATA" for part in ("params", "optimizer"))
    content = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(content)
    with pytest.raises(CutShort, match=r"^optimizer/_METADATA has "):
        check_files(folder / "40")
    (folder / "30" / "params" / "more").touch()
    with pytest.raises(CutShort, match=r"^params/more is not in checksums\.json$"):
        check_files(folder / "30")


def test_metadata_without_an_end_is_not_read(folder, capsys):
    """Orbax reads it of each step, whole, before anything is checked: of /dev/zero until no memory
    is left."""
    file = folder / "40/_CHECKPOINT_METADATA"
    file.unlink()
    file.symlink_to("/dev/null")
    assert restore(folder)[1].step == 30
    told = "damaged (_CHECKPOINT_METADATA is missing); moved to damaged/"
    assert told in capsys.readouterr().err


def test_the_only_checkpoint_without_a_listing_is_a_save_that_was_killed(tmp_path, capsys):
    folder = tmp_path / "checkpoints"
    with Checkpoints(folder) as checkpoints:
        checkpoints.save(make_state(5), make_progress(5, best=5), PRINT)
    (folder / "5" / LISTING).rename(folder / "5" / "sizes.json")
    with pytest.raises(InputError, match=r"5: saved by an older version, without checksums"):
        restore(folder)
    (folder / "5" / "sizes.json").unlink()
    assert restore(folder) is None
    assert "did not come to its end); deleted, beginning again" in capsys.readouterr().err
    assert list_steps(folder) == []


def test_a_folder_left_by_a_kill_in_the_middle_of_a_save_is_ignored(folder):
    shutil.copytree(folder / "40", folder / "50.orbax-checkpoint-tmp-7")
    assert restore(folder)[1].step == 40


def test_nothing_readable_says_what_and_how_to_mend(folder):
    for step in list_steps(folder):
        (folder / str(step) / "progress" / "metadata").write_bytes(b"{")
    with pytest.raises(InputError) as error:
        restore(folder)
    message = str(error.value)
    assert message.startswith(f"{folder}: no checkpoint can be read (40: progress/metadata has 1 ")
    assert message.endswith("; delete the folder to start again, or use another --workdir")


def test_the_best_before_takes_the_place_of_a_broken_best(folder, capsys, flip_a_bit):
    flip_a_bit(folder / "10" / "params" / "_METADATA")
    _, progress = restore(folder)
    assert (progress.best_step, progress.best_value, progress.step) == (5, 0.25, 40)
    assert (progress.former_best_step, progress.evaluated_step) == (None, 40)
    assert (
        "10: the best so far, damaged (params/_METADATA has other bytes than were saved); "
        "the best before it, 5, takes its place"
    ) in capsys.readouterr().err
    flip_a_bit(folder / "5" / "params" / "_METADATA")
    _, progress = restore(folder)
    assert (progress.best_step, progress.best_value, progress.evaluated_step) == (None, None, 0)
    assert "the next evaluation sets a new best" in capsys.readouterr().err


def test_another_model_gives_a_table_of_differences(folder):
    with pytest.raises(InputError) as error:
        restore(folder, rows=6)
    first, *table = str(error.value).splitlines()
    assert first.startswith(f"{folder / '40' / 'params'}: 1 of its arrays do not fit this model; ")
    assert [line.split() for line in table] == [
        ["name", "saved", "expected"],
        ["table", "float32", "[5,", "3]", "float32", "[6,", "3]"],
    ]
    assert list_steps(folder) == [5, 10, 20, 30, 40]  # a misfit is not damage


def test_other_names_and_dtypes_are_differences_too(folder):
    def other(progress):
        state = make_state(0)
        params = {"table": state.params["table"].astype(jnp.bfloat16), "gain": jnp.ones(3)}
        return place_shapes(state._replace(params=params), make_mesh(jax.devices()[:1]), {})

    with Checkpoints(folder) as checkpoints, pytest.raises(InputError) as error:
        restore_newest(checkpoints, other, PRINT)
    table = [line.split() for line in str(error.value).splitlines()[2:]]
    assert table == [
        ["bias", "float32", "[3]", "-"],
        ["gain", "-", "float32", "[3]"],
        ["table", "float32", "[5,", "3]", "bfloat16", "[5,", "3]"],
    ]


def test_another_fingerprint_is_refused_by_name(folder):
    now = {"config": {"width": 8}, "dataset": "abc"}
    with pytest.raises(InputError, match=r"\(config\.width was 4 and is 8\)"):
        check_fingerprint(folder / "40", PRINT, now)
    check_fingerprint(folder / "40", {"a": [1, 2]}, {"a": (1, 2)})  # JSON has no tuples


def test_data_is_compared_by_its_parts(folder):
    ours = {"tables": "a" * 64, "split.joint": "b" * 64, "list.joint.uniform9.rec.valid": "c" * 64}
    check_fingerprint(folder, {"data": ours}, {"data": ours})
    for name, line in (
        ("tables", "the tables are dddddddddddd there and aaaaaaaaaaaa here"),
        ("split.joint", "the split joint is dddddddddddd there and bbbbbbbbbbbb here"),
        ("list.joint.uniform9.rec.valid", "the list uniform9 of rec valid is dddddddddddd there"),
    ):
        with pytest.raises(InputError, match=f"made on other data: {line}.*use another --workdir$"):
            check_fingerprint(folder, {"data": ours | {name: "d" * 64}}, {"data": ours})
    with pytest.raises(InputError, match="made by an older version"):
        check_fingerprint(folder, {"dataset": "a" * 64}, {"data": ours})


def test_damage_names_the_file(folder):
    check_files(folder / "40")
    file = folder / "40" / "progress" / "metadata"
    size = file.stat().st_size
    file.write_bytes(b"{}")
    with pytest.raises(CutShort, match=f"^progress/metadata has 2 of {size} bytes$"):
        check_files(folder / "40")
    with pytest.raises(CutShort, match=r"^progress, key fingerprint: missing$"):
        read_record(folder / "40")


def test_folders_that_changed_places_are_told(folder, capsys):
    for old, new in (("40", "x"), ("30", "40"), ("x", "30")):
        (folder / old).rename(folder / new)
    assert restore(folder)[1].step == 20
    told = capsys.readouterr().err
    assert "/40: damaged (it holds step 30, so the folder was renamed); moved to damaged/" in told
    assert "/30: damaged (it holds step 40" in told


SPOILT_RECORDS = {
    "fingerprint null": lambda r: r | {"fingerprint": None},
    "fingerprint a list": lambda r: r | {"fingerprint": []},
    "identity null": lambda r: r | {"fingerprint": PRINT | {"identity": None}},
    "identity of numbers": lambda r: r | {"fingerprint": PRINT | {"identity": {"words": 5}}},
    "no fingerprint": lambda r: {"progress": r["progress"]},
    "a list": lambda r: [],
    "progress null": lambda r: r | {"progress": None},
    "rows null": lambda r: r | {"progress": r["progress"] | {"rows": None}},
    "rows of texts": lambda r: r | {"progress": r["progress"] | {"rows": {"a": "b"}}},
    "stages null": lambda r: r | {"progress": r["progress"] | {"stages": None}},
    "stages of numbers": lambda r: r | {"progress": r["progress"] | {"stages": [5]}},
    "a step below 0": lambda r: r | {"progress": r["progress"] | {"step": -1}},
    "a step that is a text": lambda r: r | {"progress": r["progress"] | {"step": "40"}},
    "best_step a float": lambda r: r | {"progress": r["progress"] | {"best_step": 1.5}},
    "an unknown key": lambda r: r | {"progress": r["progress"] | {"new": 1}},
    "deep": lambda r: r | {"fingerprint": json.loads('{"a":' * 300 + "1" + "}" * 300)},
}


@pytest.mark.parametrize("spoil", SPOILT_RECORDS.values(), ids=SPOILT_RECORDS)
def test_a_record_of_another_form_counts_as_cut_short(folder, spoil, capsys):
    file = folder / "40" / "progress" / "metadata"
    file.write_text(json.dumps(spoil(json.loads(file.read_text()))))
    write_checksums(folder / "40")
    with pytest.raises(CutShort, match=r"^progress"):
        read_record(folder / "40")
    assert restore(folder)[1].step == 30
    assert "going on from 30" in capsys.readouterr().err


@pytest.mark.parametrize("content", ["[]", "5", '{"a": "b"}', '{"a": null}', "[" * 100_000])
def test_a_listing_of_another_form_counts_as_cut_short(folder, content):
    (folder / "40" / LISTING).write_text(content)
    with pytest.raises(CutShort, match=r"^checksums\.json cannot be read$"):
        check_files(folder / "40")


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_parameter_that_is_not_finite_is_named(folder, bad):
    state = make_state(50)
    state.params["bias"] = state.params["bias"].at[1].set(bad)
    with Checkpoints(folder) as checkpoints:
        checkpoints.save(state, make_progress(50, best=10), PRINT)
    with pytest.raises(InputError, match=r"checkpoints/50/params, parameter bias: has numbers"):
        restore(folder)
    with pytest.raises(InputError, match=r"parameter bias: .*not finite; delete"):
        load_params(folder / "50", describe(None).params)


def test_seeds_beyond_32_bits_are_seeds_of_their_own():
    keys = [
        jax.random.key_data(derive_key(seed, "init")).tolist()
        for seed in (0, 1, 2**32, 2**32 + 1, 2**40, 2**63 - 1)
    ]
    assert len(set(map(tuple, keys))) == len(keys)


@pytest.mark.parametrize("name", ["a [1]", "a:b", "C:", "a*?", "50%", "a#b", "a b"])
def test_a_folder_may_have_any_name(name, tmp_path, capfd):
    folder = tmp_path / name / "checkpoints"
    with Checkpoints(folder) as checkpoints:
        for step in (10, 20):
            checkpoints.save(make_state(step), make_progress(step, best=10), PRINT)
    assert list_steps(folder) == [10, 20]
    state, _ = restore(folder)
    jax.tree.map(np.testing.assert_array_equal, state, make_state(20))
    assert capfd.readouterr().err == ""
