"""Planted truth of own tables: figures by hand, the synthetic truth again, and what is refused."""

import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from common.data.folder import PrepareSettings, load_dataset, write_dataset
from common.data.readers.synthetic import generate
from common.data.readers.tables import read_tables
from common.data.readers.truth_tables import add_truth
from common.data.schema import SourceTables
from common.errors import InputError
from common.ranking.evidence import EvidenceTable, evidence_report, select_window

# Two users; the target is the last click of each. Rows of the files are in no order.
RAW = {
    "items": "item,title\npan,Pan\ntea,Green tea\nbag,Bag\n",
    "interactions": """user,item,time,label
zoe,pan,2024-01-09,1
adi,tea,2024-01-01,1
adi,pan,2024-01-09,1
zoe,bag,2024-01-02,0
zoe,tea,2024-01-01,1
adi,bag,2024-01-08,1
zoe,bag,2024-01-08,1
""",
    "searches": """user,query,time
zoe,茶,2024-01-04
adi,Red  PAN,2024-01-05
zoe,pan,2024-01-05
adi,tea,2024-01-06
zoe,pan,2024-01-06
""",
}
TRUTH = {
    "items": "topic,item\ncooking,pan\ndrinks,tea\ntravel,bag\n",
    "interactions": """user,item,time,intent
adi,pan,2024-01-09,cooking
adi,bag,2024-01-08,travel
adi,tea,2024-01-01,drinks
zoe,pan,2024-01-09,cooking
zoe,tea,2024-01-01,drinks
zoe,bag,2024-01-08,drinks
""",
    "searches": """useful,user,query,time,topic,seen_in
1,adi,red pan,2024-01-05,cooking,app
0,adi,tea,2024-01-06,drinks,app
0,zoe,茶,2024-01-04,drinks,app
True,zoe,pan,2024-01-05,cooking,app
false,zoe,pan,2024-01-06,travel,app
""",
}
SETTINGS = PrepareSettings(negatives=0)


def put(folder: Path, files: dict[str, str]) -> Path:
    folder.mkdir(exist_ok=True)
    for name, text in files.items():
        (folder / f"{name}.csv").write_text(text, encoding="utf-8")
    return folder


def read_both(tmp_path: Path, **changes: str) -> SourceTables:
    truth = put(tmp_path / "truth", TRUTH | changes)
    return add_truth(read_tables(put(tmp_path / "raw", RAW)), truth)


def test_truth_is_laid_beside_the_rows_it_is_about(tmp_path: Path):
    tables = read_both(tmp_path)
    topics = tables.meta["truth_params"]["topics"]
    assert topics == ["cooking", "drinks", "travel"]
    assert tables.meta["sources"][-1]["file"] == "truth/items.csv"
    rec, search, items = (tables.truth[name].to_pydict() for name in ("rec", "search", "items"))
    # rec.parquet: adi's tea, bag, pan; zoe's tea, bag (shown), bag, pan
    assert rec == {"row": [0, 1, 2, 3, 5, 6], "intent": [2, 3, 1, 2, 2, 1]}
    assert search["row"] == [0, 1, 2, 3, 4]  # adi: red pan, tea; zoe: 茶, pan, pan
    assert search["topic"] == [1, 2, 2, 1, 3]
    assert search["useful"] == [1, 0, 0, 1, 0]
    assert items == {"item": [1, 2, 3], "topic": [3, 1, 2]}  # bag, pan, tea


def test_evidence_figures_of_own_tables_by_hand(tmp_path: Path):
    tables = read_both(tmp_path)
    write_dataset(tmp_path / "data", tables, SETTINGS)
    dataset = load_dataset(tmp_path / "data")
    rec_row, search_row = select_window(dataset.timeline, np.array([2, 6]), 10)
    assert search_row.tolist() == [0, 1, 2, 3, 4]
    weights = np.array([0.7, 0.3, 0.2, 0.4, 0.4])
    report = evidence_report(dataset, EvidenceTable(rec_row, search_row, weights))
    # adi: 0.7 against 0.3 -> 1. zoe: 0.4 against 0.2 and 0.4 -> 3/4. Both are after "cooking".
    assert report["model"]["auc_flag"]["value"] == pytest.approx(7 / 8)
    assert report["model"]["auc_pair"]["value"] == pytest.approx(7 / 8)
    assert report["oracle"]["auc_pair"]["value"] == 1.0
    assert report["lists"] == {"flag": 2, "pair": 2}


def write_like_an_owner(folder: Path, tables: SourceTables) -> tuple[Path, Path]:
    """A source as raw Parquet tables and truth tables, in another order, times in ms."""
    users, items, texts = (
        np.array(tables.table(name)[column].to_pylist())
        for name, column in (("users", "raw_id"), ("items", "raw_id"), ("queries", "text"))
    )
    rec, search = tables.rec.to_pydict(), tables.search.to_pydict()
    raw, truth = folder / "raw", folder / "truth"
    raw.mkdir()
    truth.mkdir()
    rng = np.random.default_rng(0)

    def write(place: Path, name: str, columns: dict) -> None:
        table = pa.table(columns)
        pq.write_table(table.take(rng.permutation(len(table))), place / f"{name}.parquet")

    shared = {
        "user": users[np.array(rec["user"]) - 1],
        "item": items[np.array(rec["item"]) - 1],
        "time": rec["ts_ms"],
    }
    write(raw, "interactions", shared | {"label": rec["label"], "seq": rec["seq"]})
    row = tables.truth["rec"]["row"].to_numpy()
    known = {name: np.asarray(column)[row] for name, column in shared.items()}
    write(truth, "interactions", known | {"intent": tables.truth["rec"]["intent"]})
    shared = {
        "user": users[np.array(search["user"]) - 1],
        "query": texts[np.array(search["query"]) - 1],
        "time": search["ts_ms"],
    }
    clicked = [[items[item - 1] for item in clicks] for clicks in search["clicked"]]
    write(raw, "searches", shared | {"clicked": clicked, "seq": search["seq"]})
    answers = tables.truth["search"].select(["topic", "useful"]).to_pydict()
    write(truth, "searches", shared | answers)
    write(raw, "items", {"item": items})
    write(truth, "items", {"item": items, "topic": tables.truth["items"]["topic"]})
    return raw, truth


def test_the_synthetic_truth_comes_back_as_it_was(tmp_path: Path):
    source = generate("tiny")
    raw, truth = write_like_an_owner(tmp_path, source)
    tables = add_truth(read_tables(raw), truth)
    for column in ("user", "ts_ms", "item"):
        assert tables.rec[column].to_pylist() == source.rec[column].to_pylist()
    for name, columns in (
        ("rec", ["row", "intent"]), ("search", ["row", "topic", "useful"]),
        ("items", ["item", "topic"]),
    ):  # fmt: skip
        assert tables.truth[name].to_pydict() == source.truth[name].select(columns).to_pydict()


@pytest.mark.parametrize(
    ("name", "old", "new", "message"),
    [
        ("searches", "useful,user", "usefull,user", "useful: missing; did you mean usefull?"),
        ("searches", "1,adi", "2,adi", "row 1, column useful: '2' is neither 0 nor 1"),
        ("searches", "zoe,茶", "zed,茶",
         "row 3, column user: no row of the data's searches has this user, query and time"),
        ("searches", "red pan", "red pen",
         "row 1, column user: no row of the data's searches has this user, query and time"),
        ("searches", "false,zoe,pan,2024-01-06,travel,app\n", "",
         "1 of the 5 searches have no row, first that of user 'zoe' at 2024-01-06"),
        ("searches", "false,zoe,pan,2024-01-06,travel", "0,zoe,pan,2024-01-05,cooking",
         "row 5, column useful: is '0', an earlier row with this user, query and time says other"),
        ("searches", "2024-01-04", "tomorrow", "row 3, column time: 'tomorrow' is no time"),
        ("interactions", "adi,pan,2024-01-09,cooking", "adi,pan,2024-01-09,",
         "row 1, column intent: is empty"),
        ("interactions", "adi,bag,2024-01-08,travel\n", "",
         "1 of the 6 interactions have no row, first that of user 'adi' at 2024-01-08"),
        ("items", "travel,bag", "travel,bog",
         "row 3, column item: no row of the data's items has this item"),
        ("items", "travel,bag\n", "", "1 of the 3 items have no row, first that of item 'bag'"),
        ("items", "travel,bag\n", "travel,bag\ncooking,bag\n",
         "row 4, column topic: is 'cooking', an earlier row with this item says otherwise"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_one_line(tmp_path, name, old, new, message):
    assert old in TRUTH[name]
    with pytest.raises(InputError, match=re.escape(message)) as caught:
        read_both(tmp_path, **{name: TRUTH[name].replace(old, new)})
    assert str(caught.value).startswith(str(tmp_path / "truth" / f"{name}.csv"))
    assert "\n" not in str(caught.value)


def test_intents_and_topics_are_one_list_of_names(tmp_path: Path):
    other = re.sub("cooking|drinks|travel", "12", TRUTH["interactions"])
    with pytest.raises(InputError, match="column intent: none is the topic of a search"):
        read_both(tmp_path, interactions=other)


def test_folders_that_are_no_truth(tmp_path: Path):
    tables = read_tables(put(tmp_path / "raw", RAW))
    with pytest.raises(InputError, match=r"nowhere: no such folder; check --truth"):
        add_truth(tables, tmp_path / "nowhere")
    truth = put(tmp_path / "truth", {name: TRUTH[name] for name in ("items", "searches")})
    message = r"has neither interactions\.csv nor interactions\.parquet; add one"
    with pytest.raises(InputError, match=message):
        add_truth(tables, truth)
    put(truth, TRUTH)
    (tmp_path / "raw/searches.csv").unlink()
    with pytest.raises(InputError, match="have no search that could be useful"):
        add_truth(read_tables(tmp_path / "raw"), truth)
