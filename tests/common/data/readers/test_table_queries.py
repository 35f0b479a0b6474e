"""Queries of own tables, in scripts with and without blanks."""

from pathlib import Path

from common.data.readers.tables import read_tables

SEARCHES = """user,query,time
u,红色 鞋,2024-01-01
u,紅茶,2024-01-02
u,ｉＰｈｏｎｅ　手机壳,2024-01-03
u,iphone 手机壳,2024-01-04
u,Red  SHOE,2024-01-05
u,???,2024-01-06
"""


def test_queries_are_words_and_spellings_are_one_query(tmp_path: Path):
    (tmp_path / "items.csv").write_text("item\ni\n")
    (tmp_path / "interactions.csv").write_text("user,item,time\nu,i,2024-02-01\n")
    (tmp_path / "searches.csv").write_text(SEARCHES, encoding="utf-8")
    tables = read_tables(tmp_path)
    words = tables.tokens["word"].to_pylist()
    queries = {
        text: [words[token - 1] for token in tokens]
        for text, tokens in zip(
            *(tables.queries[name].to_pylist() for name in ("text", "tok")), strict=True
        )
    }
    assert queries == {
        "红色 鞋": ["红", "红色", "色", "鞋"],
        "紅茶": ["紅", "紅茶", "茶"],
        "iphone 手机壳": ["iphone", "手", "手机", "机", "机壳", "壳"],
        "red shoe": ["red", "shoe"],
        "???": [],
    }
    assert tables.search["query"].to_pylist()[2] == tables.search["query"].to_pylist()[3]
