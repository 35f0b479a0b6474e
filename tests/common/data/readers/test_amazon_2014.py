"""The Amazon reader on small files, on damaged ones, and on the real ones where they are."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from common.bounds import LONGEST_RECORD
from common.data.pseudo_queries import Recipe
from common.data.readers.amazon_2014 import read_amazon, read_metadata
from common.data.schema import SourceTables
from common.errors import InputError

DAY = 86_400

REVIEWS = [  # in file order: by item, then user
    ("u2", "A1", 3), ("u1", "A1", 1), ("u1", "A2", 1), ("u2", "A2", 1), ("u1", "A3", 2),
]  # fmt: skip
ITEMS: list[dict[str, Any]] = [
    {
        "asin": "A1",
        "title": "Soap &amp; Co",
        "brand": "B&amp;B",
        "categories": [["Beauty", "Soap"]],
    },
    {"asin": "A3", "categories": [["Beauty", "Hair"], ["Health", "Hair Care"]]},
    {"asin": "A9", "title": "never reviewed", "categories": []},
    {"asin": "A2", "title": "", "description": "for men", "categories": [["Beauty"]]},
]


def _review(user: str, item: str, day: int, **more: object) -> dict[str, Any]:
    return {"reviewerID": user, "asin": item, "unixReviewTime": day * DAY} | more


def _write(folder: Path, reviews: list[Any] | None = None, items: list[Any] | None = None) -> Path:
    """Records are written as JSON or literal, strings as they are."""
    reviews = [_review(*r) for r in REVIEWS] if reviews is None else reviews
    items = ITEMS if items is None else items
    for name, records, spell in (
        ("reviews_Toys_5", reviews, json.dumps),
        ("meta_Toys", items, repr),
    ):
        lines = [record if isinstance(record, str) else spell(record) for record in records]
        with gzip.open(folder / f"{name}.json.gz", "wt", encoding="utf-8") as file:
            file.writelines(line + "\n" for line in lines)
    return folder


def _events(tables: SourceTables, name: str, *columns: str) -> list[tuple[Any, ...]]:
    picked = tables.table(name).select(list(columns)).to_pydict()
    return list(zip(*(picked[column] for column in columns), strict=True))


def test_reviews_become_purchases_and_searches(tmp_path: Path):
    tables = read_amazon(_write(tmp_path))
    assert tables.users["raw_id"].to_pylist() == ["u1", "u2"]
    assert tables.items["raw_id"].to_pylist() == ["A1", "A2", "A3"]
    day = DAY * 1000
    assert _events(tables, "rec", "user", "ts_ms", "seq", "item", "label") == [
        (1, day, 0, 1, 1), (1, day, 1, 2, 1), (1, 2 * day, 0, 3, 1),
        (2, day, 0, 2, 1), (2, 3 * day, 0, 1, 1),
    ]  # fmt: skip
    # A2 has a path of one level and so no query; the copies keep the place of their purchase.
    searches = _events(tables, "search", "user", "ts_ms", "seq", "shown", "clicks", "clicked")
    assert searches == [
        (1, day, 0, [1], [1], [1]), (1, 2 * day, 0, [3], [1], [3]), (2, 3 * day, 0, [1], [1], [1]),
    ]  # fmt: skip
    texts = tables.queries["text"].to_pylist()
    assert texts == ["beauty hair", "beauty soap", "health hair care"]
    query = [texts[q - 1] for q in tables.search["query"].to_pylist()]
    assert query[0] == query[2] == "beauty soap"
    assert query[1] in ("beauty hair", "health hair care")
    assert tables.tokens["word"].to_pylist() == ["beauty", "care", "hair", "health", "soap"]
    assert tables.queries["tok"].to_pylist()[1] == [1, 5]
    assert tables.search["synthetic_query"].to_pylist() == [True] * 3
    assert tables.meta["name"] == "amazon_toys_2014"
    assert tables.meta["time_resolution"] == "day"
    assert not tables.meta["redistributable"]


def test_what_is_known_about_items(tmp_path: Path):
    items = read_amazon(_write(tmp_path)).items
    assert items["title"].to_pylist() == ["Soap & Co", None, None]
    assert items["text"].to_pylist() == [None, "for men", None]
    assert items["brand"].to_pylist() == [1, 0, 0]
    assert items["cat_path"].to_pylist() == [["Beauty", "Soap"], ["Beauty"], ["Beauty", "Hair"]]
    assert [items[f"cat_{level}"].to_pylist() for level in (1, 2, 3)] == [
        [1, 1, 1], [2, 0, 1], [0, 0, 0],
    ]  # fmt: skip


def test_items_without_metadata_are_counted(tmp_path: Path):
    tables = read_amazon(_write(tmp_path, items=[ITEMS[0], ITEMS[0], ITEMS[2]]))
    assert tables.meta["filters"]["items_without_metadata"] == 2
    assert tables.meta["filters"]["metadata_rows"] == {"before": 3, "after": 1}
    assert tables.items["title"].to_pylist() == ["Soap & Co", None, None]


def test_moved_purchases_leave_rec(tmp_path: Path):
    tables = read_amazon(_write(tmp_path), recipe=Recipe(mode="move"))
    assert _events(tables, "rec", "user", "item", "seq") == [(1, 2, 1), (2, 2, 0)]
    assert tables.search.num_rows == 3


def test_ratings_and_texts_do_not_matter(tmp_path: Path):
    plain, rich = tmp_path / "plain", tmp_path / "rich"
    for folder, more in ((plain, {}), (rich, {"overall": 5.0, "reviewText": "good"})):
        folder.mkdir()
        _write(folder, [_review(*review, **more) for review in REVIEWS])
    tables = [read_amazon(folder) for folder in (plain, rich)]
    assert all(tables[0].table(n).equals(tables[1].table(n)) for n in ("rec", "search", "items"))


def test_an_order_file_decides_inside_a_day(tmp_path: Path):
    order = tmp_path / "order.txt"
    order.write_text("u2 A2 A1\nu1 A2 A1 A3\n")
    tables = read_amazon(_write(tmp_path), order=order)
    assert _events(tables, "rec", "user", "seq", "item")[:3] == [(1, 0, 2), (1, 1, 1), (1, 0, 3)]
    # In the file u1 has A1 before A2 on day 1; u2's two days leave no choice.
    note = "source order = order.txt: other than file order for 1 of 2 users; 0 of its steps go"
    assert any(n.startswith(note) for n in tables.meta["notes"])
    order.write_text("u2 A1 A2\nu1 A2 A1 A3\n")
    notes = read_amazon(tmp_path, order=order).meta["notes"]
    assert any("1 of its steps go back in time" in note for note in notes)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("u2 A2 A1\nu3 A1\n", r"row 2: user 'u3' has no reviews"),
        ("u2 A2 A1\nu2 A2 A1\n", r"row 2: user 'u2' came before"),
        ("u2 A2 A1\n", r"user u1 is missing"),
        ("u2 A2 A1\nu1 A2 A1\n", r"row 2: the items of user u1"),
        ("u2 A2 A1\nu1 A2 A1 A3 A3\n", r"row 2: the items of user u1"),
        ("u2 A2 A9\nu1 A2 A1 A3\n", r"row 1: the items of user u2"),
        ("u2 A2 A1\n\nu1 A2 A1 A3\n", r"row 2: user '' has no reviews"),
    ],
)
def test_an_order_file_that_does_not_fit(lines: str, message: str, tmp_path: Path):
    order = tmp_path / "order.txt"
    order.write_text(lines)
    with pytest.raises(InputError, match=r"order\.txt(, |: )" + message):
        read_amazon(_write(tmp_path), order=order)


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ("not json", "row 6: is no JSON object"),
        ("[1, 2]", "row 6: is no JSON object"),
        ("[" * 100_000, "row 6: is no JSON object"),
        ("", "row 6: is no JSON object"),
        ({"asin": "A1", "unixReviewTime": 1}, "row 6, column reviewerID: missing"),
        ({"reviewerID": "u1", "unixReviewTime": 1}, "row 6, column asin: missing"),
        ({"reviewerID": "u1", "asin": "A1"}, "row 6, column unixReviewTime: missing"),
        (_review("", "A1", 1), "row 6, column reviewerID: '' is no str"),
        (_review("u1", 7, 1), "row 6, column asin: '7' is no str"),  # type: ignore[arg-type]
        (_review("u1", "A1", 1, unixReviewTime="1"), "column unixReviewTime: '1' is no int"),
        (_review("u1", "A1", 1, unixReviewTime=True), "column unixReviewTime: 'True' is no int"),
        (_review("u1", "A1", -1), "column unixReviewTime: -86400 is no time in seconds"),
        (_review("u1", "A1", 10**9), "column unixReviewTime: 86400000000000 is no time"),
    ],
)
def test_bad_reviews_are_named(record: Any, message: str, tmp_path: Path):
    _write(tmp_path, [*(_review(*review) for review in REVIEWS), record])
    with pytest.raises(InputError, match=r"reviews_Toys_5\.json\.gz, .*" + message):
        read_amazon(tmp_path)


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ("{'asin': ", "row 2: is no Python literal"),
        ("__import__('os').getcwd()", "row 2: is no Python literal"),
        ("('A2',)", "row 2: is no Python literal"),
        ("(" * 5000, "row 2: is no Python literal"),
        ("{'asin': 'A2', 'title': '" + "x" * 10**6 + "'}", "row 2: longer than 1,000,000"),
        ({"title": "x", "categories": []}, "row 2, column asin: missing"),
        ({"asin": "A2"}, "row 2, column categories: missing"),
        ({"asin": "A2", "categories": ["Beauty"]}, "row 2, column categories: is no list of lists"),
        ({"asin": "A2", "categories": [["Beauty", 1]]}, "row 2, column categories: is no list"),
        ({"asin": "A2", "title": 5, "categories": []}, "row 2, column title: '5' is no str"),
    ],
)
def test_bad_metadata_is_named(record: Any, message: str, tmp_path: Path):
    _write(tmp_path, items=[ITEMS[0], record])
    with pytest.raises(InputError, match=r"meta_Toys\.json\.gz, .*" + message):
        read_amazon(tmp_path)


@pytest.mark.parametrize("name", ["reviews_Toys_5.json.gz", "meta_Toys.json.gz"])
@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ("cut", "is cut short or damaged after row 0"),
        ("plain", "is no gzip file"),
        ("pointer", "is a Git LFS pointer"),
        ("latin1", "row 1: is not UTF-8"),
        ("remove", "no such file"),
    ],
)
def test_damaged_files_are_named(name: str, damage: str, message: str, tmp_path: Path):
    path = _write(tmp_path) / name
    content = path.read_bytes()
    path.write_bytes(
        {
            "cut": content[: len(content) // 2],
            "plain": gzip.decompress(content),
            "pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n",
            "latin1": gzip.compress("é\n".encode("latin-1")),
            "remove": b"",
        }[damage]
    )
    if damage == "remove":
        path.unlink()
    with pytest.raises(InputError, match=name.replace(".", r"\.") + r".*" + message):
        read_amazon(tmp_path, "Toys")


def test_an_empty_file_has_no_reviews(tmp_path: Path):
    with pytest.raises(InputError, match=r"reviews_Toys_5\.json\.gz: has no reviews"):
        read_amazon(_write(tmp_path, reviews=[]))


def test_which_category(tmp_path: Path):
    with pytest.raises(InputError, match="no such folder"):
        read_amazon(tmp_path / "nowhere")
    with pytest.raises(InputError, match="has no reviews; give --category"):
        read_amazon(tmp_path)
    _write(tmp_path)
    (tmp_path / "reviews_Beauty_5.json.gz").touch()
    with pytest.raises(InputError, match=r"has several categories \(Beauty, Toys\)"):
        read_amazon(tmp_path)
    assert read_amazon(tmp_path, "Toys").rec.num_rows == 5


def test_unwanted_metadata_is_not_parsed(tmp_path: Path):
    _write(tmp_path, items=["{'asin': 'A7', this is never read", ITEMS[0]])
    found, unused = read_metadata(tmp_path / "meta_Toys.json.gz", frozenset(["A1"]))
    assert list(found) == ["A1"]
    assert unused == 1


@pytest.mark.parametrize("column", ["reviewerID", "asin", "title", "description", "categories"])
def test_half_a_character_is_named(column: str, tmp_path: Path):
    half = "\ud83d"
    if column in ("reviewerID", "asin"):
        review = _review("u1", "A1", 1) | {column: half}
        _write(tmp_path, reviews=[_review("u2", "A1", 1), review])
    else:
        value: Any = [["Beauty", half]] if column == "categories" else f"a {half}"
        _write(tmp_path, items=[ITEMS[1], {"asin": "A1", "categories": []} | {column: value}])
    with pytest.raises(
        InputError, match=rf"row 2, column {column}: .*half of a character"
    ) as error:
        read_amazon(tmp_path)
    str(error.value).encode()  # it can be printed


def test_a_line_that_unpacks_to_anything_is_named_before_it_is_read(tmp_path):
    _write(tmp_path)
    with gzip.open(tmp_path / "reviews_Toys_5.json.gz", "wb") as file:
        file.write(b" " * (LONGEST_RECORD + 1) + b"x" * 4096)
    with pytest.raises(InputError, match=r"row 1: is longer than 16,777,216 bytes; shorten"):
        read_amazon(tmp_path)
