"""Dataset folders: whole or absent, the same for the same content, verified when loaded."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from common.data import folder as folder_module
from common.data.candidates import (
    count_items,
    draw_popularity_lists,
    draw_uniform_lists,
    ever_items,
)
from common.data.dataset import Dataset
from common.data.event_tables import tabulate_rec, tabulate_search
from common.data.events import PARTS, TASKS
from common.data.folder import PrepareSettings, load_dataset, write_dataset
from common.data.loading import make_search_events
from common.data.readers.synthetic import generate
from common.data.schema import SourceTables, conform_table
from common.data.splits import make_split
from common.data.vocabulary import tabulate_items, tabulate_queries, tabulate_users
from common.errors import InputError

SETTINGS = PrepareSettings(negatives=20)
META = {
    "name": "small", "version": "1", "licence": "none", "redistributable": True,
    "time_resolution": "s", "sources": [], "filters": {}, "pseudo_query": None, "notes": [],
}  # fmt: skip


def small_tables(n_users: int = 4, n_items: int = 12, per_user: int = 4) -> SourceTables:
    """Every user takes `per_user` items, an item a second, and searches once for the second."""
    user = np.repeat(np.arange(1, n_users + 1), per_user)
    ts = np.tile(1_500_000_000_000 + 1000 * np.arange(per_user), n_users)
    item = 1 + (np.arange(len(user)) * 5 + user) % n_items
    zeros = np.zeros(len(user), np.int64)
    second = np.arange(n_users) * per_user + 1
    queries, tokens = tabulate_queries({"red pot": ["red", "pot"], "cup": ["cup"]})
    raw_items = pa.array([f"i{i:02d}" for i in range(n_items)])
    return SourceTables(
        users=tabulate_users(pa.array([f"u{i}" for i in range(n_users)])),
        items=tabulate_items(
            raw_items, ["red pot"] * n_items, [None] * n_items, [["A", "B"]] * n_items,
            [None] * n_items,
        ),
        queries=queries,
        tokens=tokens,
        rec=tabulate_rec(user, ts, zeros, item, zeros + 1),
        search=tabulate_search(
            user[second], ts[second], zeros[second] + 1, 1 + user[second] % 2,
            np.arange(n_users + 1), item[second], np.ones(n_users, bool), ts[second] + 500,
            source="user", synthetic=False,
        ),
        meta=META,
    )  # fmt: skip


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "tiny"
    splits = ("leave_one_out_joint", "leave_one_out_per_task", "global_time")
    write_dataset(path, generate("tiny", 0), PrepareSettings(splits=splits, negatives=20))
    return path


def test_what_is_loaded_is_what_was_written(tiny: Path):
    source = generate("tiny", 0)
    data = load_dataset(tiny)
    assert isinstance(data, Dataset)
    sizes = (data.n_users, data.n_items, data.n_queries, data.n_tokens)
    names = ("users", "items", "queries", "tokens")
    assert sizes == tuple(source.table(name).num_rows for name in names)
    assert data.rec.item.tolist() == source.rec["item"].to_pylist()
    clicked = source.search["clicked"].to_pylist()
    assert data.search.target.tolist() == [items[0] if items else 0 for items in clicked]
    assert np.split(data.search.click_item, data.search.click_off[1:-1])[5].tolist() == clicked[5]
    tok = source.queries["tok"].to_pylist()
    assert data.query_tokens.shape == (data.n_queries + 1, max(map(len, tok)))
    assert [[t for t in row if t] for row in data.query_tokens[1:].tolist()] == tok
    assert not data.query_tokens[0].any()
    assert data.item_categories[1:, 2].tolist() == source.items["cat_3"].to_pylist()
    assert data.history_order == "time"
    assert data.manifest["counts"]["rec_positives"] == int(data.rec.positive.sum())


def test_truth_is_stored_beside_the_data(tiny: Path):
    truth = generate("tiny", 0).truth
    assert pq.read_table(tiny / "truth/search.parquet").equals(truth["search"])
    assert json.loads((tiny / "truth/params.json").read_text())["preset"] == "tiny"


def test_splits_and_lists_are_those_of_their_modules(tiny: Path):
    data = load_dataset(tiny)
    split = make_split("leave_one_out_joint", data.rec, data.search, "time")
    ever = ever_items(data.rec, data.search, data.n_users)
    for task in TASKS:
        events = data.events(task)
        for part in PARTS:
            assert np.array_equal(data.rows[task, part], split.rows[task, part])
        rows = data.rows[task, "test"]
        lists = data.load_lists(task, "test")
        bm25 = ["bm25_20"] if task == "search" else []
        assert sorted(lists) == [*bm25, "popularity20", "uniform20"]
        args = (task, rows, events.target[rows], events.user[rows], ever)
        uniform = draw_uniform_lists(*args, data.n_items, 0, 20)
        counts = count_items(events.target[data.rows[task, "train"]], data.n_items)
        assert np.array_equal(lists["uniform20"].items, uniform)
        assert np.array_equal(
            lists["popularity20"].items, draw_popularity_lists(*args, counts, 0, 20)
        )
        about = json.loads(
            (tiny / f"cand/leave_one_out_joint.uniform20/{task}_test.json").read_text()
        )
        assert about["sha256"] == lists["uniform20"].sha256
        assert (about["kind"], about["seed"], about["exclude"]) == ("uniform20", 0, "ever")


def test_every_split_can_be_loaded(tiny: Path):
    for split in ("leave_one_out_per_task", "global_time"):
        data = load_dataset(tiny, split)
        assert data.split == split
        assert data.load_lists("rec", "valid")["uniform20"].items.shape[1] == 21


def test_same_content_gives_the_same_folder(tiny: Path, tmp_path: Path):
    again = tmp_path / "again"
    splits = ("leave_one_out_joint", "leave_one_out_per_task", "global_time")
    write_dataset(again, generate("tiny", 0), PrepareSettings(splits=splits, negatives=20))
    names = sorted(p.relative_to(tiny) for p in tiny.rglob("*") if p.is_file())
    assert names == sorted(p.relative_to(again) for p in again.rglob("*") if p.is_file())
    for name in names:
        assert (tiny / name).read_bytes() == (again / name).read_bytes(), name


def test_lists_change_with_their_seed_and_nothing_else(tmp_path: Path):
    manifests = [
        write_dataset(tmp_path / str(seed), small_tables(), PrepareSettings(negatives=2, seed=seed))
        for seed in (0, 1)
    ]
    assert manifests[0]["sha256"] == manifests[1]["sha256"]
    assert manifests[0]["splits"] == manifests[1]["splits"]
    assert manifests[0]["candidates"] != manifests[1]["candidates"]


def test_target_of_a_search_is_the_item_clicked_first():
    search = conform_table("search", generate("tiny", 0).search).slice(0, 3)
    lists = {"clicked": [[4, 5], [], [6, 7]], "click_ts": [[9, 3], [], [5, 5]]}
    for name, values in lists.items():
        column = search.schema.get_field_index(name)
        field = search.schema.field(name)
        search = search.set_column(column, field, pa.array(values, field.type))
    events = make_search_events(search)
    assert events.target.tolist() == [5, 0, 6]
    assert events.click_item.tolist() == [5, 4, 6, 7]
    assert events.click_ts.tolist() == [3, 9, 5, 5]


# Nothing half-written


def _refuses(out: Path, tables: SourceTables, settings: PrepareSettings, message: str) -> None:
    before = sorted(out.parent.rglob("*"))
    with pytest.raises(InputError, match=message):
        write_dataset(out, tables, settings)
    assert sorted(out.parent.rglob("*")) == before


def _replace(tables: SourceTables, name: str, **columns: list) -> SourceTables:
    table = tables.table(name)
    for column, values in columns.items():
        kind = table.schema.field(column).type
        place = table.schema.get_field_index(column)
        table = table.set_column(place, column, pa.array(values, kind))
    return replace(tables, **{name: table})


@pytest.mark.parametrize(
    ("name", "column", "row", "value", "message"),
    [
        ("rec", "item", 1, 0, r"rec\.parquet, row 2, column item: id is not positive \(F03\)"),
        ("rec", "item", 3, 13, r"rec\.parquet, row 4, column item: id is larger .* 12 \(F04\)"),
        ("rec", "user", 15, 9, r"rec\.parquet, row 16, column user: .*\(F04\)"),
        ("rec", "label", 2, 2, r"rec\.parquet, row 3, column label: is neither 0 nor 1"),
        ("rec", "ts_ms", 2, 5, r"rec\.parquet, row 3, column ts_ms: comes before .*\(F07\)"),
        ("rec", "ts_ms", 0, None, r"rec\.parquet, row 1, column ts_ms: is null"),
        ("search", "query", 0, 3, r"search\.parquet, row 1, column query: .*\(F04\)"),
        ("search", "clicked", 1, [99], r"search\.parquet, row 2, column clicked: .*\(F04\)"),
        ("search", "clicks", 1, [1, 1], r"search\.parquet, row 2, column clicks: .*\(F06\)"),
        ("search", "shown_kind", 3, [], r"search\.parquet, row 4, column shown_kind: .*\(F06\)"),
        ("items", "item", 4, 7, r"items\.parquet, row 5, column item: ids are not 1, 2, 3"),
        ("users", "raw_id", 2, "u0", r"users\.parquet, row 3, column raw_id: .*twice \(F05\)"),
        ("queries", "text", 1, "cup", r"queries\.parquet, row 2, column text: .*twice \(F05\)"),
        ("queries", "tok", 0, [4], r"queries\.parquet, row 1, column tok: .*\(F04\)"),
    ],
)
def test_faults_in_tables_stop_and_leave_nothing(name, column, row, value, message, tmp_path):
    tables = small_tables()
    values = tables.table(name)[column].to_pylist()
    values[row] = value
    _refuses(tmp_path / "out", _replace(tables, name, **{column: values}), SETTINGS, message)


def test_queries_without_text_are_their_tokens(tmp_path: Path):
    tables = _replace(small_tables(), "queries", text=[None, None], tok=[[1, 2], [1, 2]])
    _refuses(tmp_path / "out", tables, SETTINGS, r"queries\.parquet, row 2, column tok: .*\(F05\)")


@pytest.mark.parametrize("name", ["users", "items", "rec"])
def test_empty_dataset(name: str, tmp_path: Path):
    tables = small_tables()
    empty = replace(tables, **{name: tables.table(name).slice(0, 0)})
    _refuses(tmp_path / "out", empty, SETTINGS, f"^{name}: the source has none")


def test_empty_split(tmp_path: Path):
    # Two times per user: nobody can be predicted.
    tables = small_tables(per_user=2)
    message = r"^split leave_one_out_joint: has no valid rows \(F08\).*--splits"
    _refuses(tmp_path / "out", tables, PrepareSettings(negatives=2), message)
    late = PrepareSettings(splits=("global_time",), t1=1, t2=2, negatives=2)
    _refuses(tmp_path / "out", small_tables(), late, r"split global_time: has no train rows")


def test_too_few_items_names_the_row_and_the_flag(tmp_path: Path):
    message = r"^split leave_one_out_joint, uniform20, rec row \d+: .*lower --negatives"
    _refuses(tmp_path / "out", small_tables(), SETTINGS, message)


def test_lists_by_popularity_are_left_out_where_too_few_items_are_trained_on(tmp_path: Path):
    """Two users of three purchases each train on one item each: of two negatives one is left."""
    user = np.repeat(np.array([1, 2], np.int32), 3)
    ts = np.tile(1_500_000_000_000 + 1000 * np.arange(3), 2)
    zeros = np.zeros(6, np.int64)
    rec = tabulate_rec(user, ts, zeros, 1 + np.arange(6), zeros + 1)
    tables = small_tables()
    tables = replace(
        tables,
        rec=rec,
        search=tables.search.slice(0, 0),
        users=tabulate_users(pa.array(["u0", "u1"])),
    )
    manifest = write_dataset(tmp_path / "out", tables, PrepareSettings(negatives=2))
    assert list(manifest["candidates"]["leave_one_out_joint"]) == ["uniform2"]
    (note,) = [note for note in manifest["notes"] if "popularity2" in note]
    assert note.endswith("; left out, as too few items are trained on to draw from")
    assert not (tmp_path / "out/cand/leave_one_out_joint.popularity2").exists()
    assert list(load_dataset(tmp_path / "out").load_lists("rec", "test")) == ["uniform2"]


def test_data_without_searches_is_a_dataset(tmp_path: Path):
    tables = small_tables()
    tables = replace(tables, search=tables.search.slice(0, 0))
    write_dataset(tmp_path / "out", tables, PrepareSettings(negatives=2))
    data = load_dataset(tmp_path / "out")
    assert len(data.rows["rec", "test"]) == 4
    assert data.load_lists("search", "test") == {}
    assert sorted(data.load_lists("rec", "test")) == ["popularity2", "uniform2"]


def test_an_interrupt_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def interrupt(*args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(folder_module, "write_lists", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_dataset(tmp_path / "deep/er/out", small_tables(), SETTINGS)
    assert list(tmp_path.iterdir()) == []


def test_a_taken_place_is_kept(tmp_path: Path):
    out = tmp_path / "out"
    settings = PrepareSettings(negatives=2)
    out.mkdir()
    (out / "mine.txt").write_text("precious")
    _refuses(out, small_tables(), settings, "is not empty; use another --out or --overwrite")
    overwrite = replace(settings, overwrite=True)
    _refuses(out, small_tables(), overwrite, "is no dataset folder, so it is not replaced")
    _refuses(out / "mine.txt", small_tables(), settings, "is a file")


def test_a_place_that_cannot_be_written(tmp_path: Path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"out: cannot be written \(.*\); use another --out"):
        write_dataset(tmp_path / "file/out", small_tables(), PrepareSettings(negatives=2))


def test_overwrite_replaces_the_whole_folder_or_nothing(tmp_path: Path):
    out, settings = tmp_path / "out", PrepareSettings(negatives=2, overwrite=True)
    first = write_dataset(out, small_tables(), settings)
    assert write_dataset(out, small_tables(n_users=5), settings)["sha256"] != first["sha256"]
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    data = load_dataset(out)
    _refuses(out, small_tables(), replace(settings, negatives=20), "lower --negatives")
    assert load_dataset(out).sha256 == data.sha256


def test_an_empty_folder_may_be_filled(tmp_path: Path):
    write_dataset(tmp_path, small_tables(), PrepareSettings(negatives=2))
    assert load_dataset(tmp_path).n_users == 4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"splits": ("leave_one_out_joined",)}, "did you mean leave_one_out_joint"),
        ({"splits": ()}, "names no split"),
        ({"splits": ("global_time", "global_time")}, "twice"),
        ({"negatives": -1}, "--negatives=-1"),
    ],
)
def test_bad_settings(options, message):
    with pytest.raises(InputError, match=message):
        PrepareSettings(**options)
