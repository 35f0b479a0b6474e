"""JSON that somebody else wrote: read, or refused with one line that names file, key and mend."""

from __future__ import annotations

import json
import re

import pytest

from common.bounds import LARGEST_TEXT
from common.errors import InputError
from common.json_files import name_kind, read_json, read_json_lines, take

CASES = {
    "one hundred thousand brackets": (b"[" * 100_000, "is nested too deep"),
    "brackets and keys": (b'{"a":' * 100_000, "is nested too deep"),
    "deep, but not for the parser": (b'{"a":' * 101 + b"1" + b"}" * 101, "is nested deeper than"),
    "a byte that is no UTF-8": (b'{"a": "\xff"}', ", byte 8: is not UTF-8"),
    "UTF-16": ('{"a": 1}'.encode("utf-16"), ", byte 1: is not UTF-8"),
    "cut": (b'{"a": 1,\n"b', ", line 2: is no JSON (Unterminated string starting at, column 1)"),
    "nothing": (b"", "is no JSON (Expecting value, column 1)"),
    "a list": (b"[]", "is a list, not an object"),
    "a number": (b"5", "is the whole number 5, not an object"),
    "null": (b"null", "is null, not an object"),
    "a number of many digits": (b'{"a": ' + b"9" * 5000 + b"}", "is no JSON (Exceeds the limit"),
}


@pytest.mark.parametrize("name", CASES)
def test_what_is_no_object_is_one_line(name, tmp_path):
    content, message = CASES[name]
    path = tmp_path / "a.json"
    path.write_bytes(content)
    with pytest.raises(InputError) as error:
        read_json(path, "copy it again")
    assert re.match(re.escape(f"{path}"), str(error.value))
    assert message in str(error.value)
    assert str(error.value).endswith("; copy it again")
    assert "\n" not in str(error.value)


def test_one_hundred_levels_are_read(tmp_path):
    path = tmp_path / "a.json"
    path.write_text('{"a":' * 99 + "{}" + "}" * 99)
    assert json.dumps(read_json(path, "")).count("a") == 99


def test_files_that_cannot_be_read_are_one_line(tmp_path):
    with pytest.raises(InputError, match=r"none\.json: missing; copy it again"):
        read_json(tmp_path / "none.json", "copy it again")
    with pytest.raises(InputError, match=r"is a folder, not a file; copy it again"):
        read_json(tmp_path, "copy it again")
    with pytest.raises(InputError, match=r"cannot be read .embedded null byte."):
        read_json(tmp_path / "a\0b", "copy it again")
    large = tmp_path / "large.json"
    with large.open("wb") as file:
        file.truncate(LARGEST_TEXT + 1)  # of holes: it takes no room
    with pytest.raises(InputError, match=r"large\.json: has 268,435,457 bytes, more than"):
        read_json(large, "copy it again")


def test_lines_are_named_by_their_row(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('{"a": 1}\n{"a": "x\u2028y"}\n')
    assert list(read_json_lines(path, "")) == [{"a": 1}, {"a": "x\u2028y"}]
    path.write_text('{"a": 1}\n[]\n')
    with pytest.raises(InputError, match=r"a\.jsonl, row 2: is a list, not an object; mend it"):
        list(read_json_lines(path, "mend it"))


@pytest.mark.parametrize(
    ("key", "kinds", "message"),
    [
        ("a.b", str, "f, key a.b: is the whole number 5, not a text; mend it"),
        ("a.b.c", str, "f, key a.b: is the whole number 5, not an object; mend it"),
        ("a.x", int, "f, key a.x: missing; mend it"),
        ("t", int, "f, key t: is true or false, not a whole number; mend it"),
        ("n", (int, list), "f, key n: is null, not a whole number or a list; mend it"),
    ],
)
def test_a_value_of_another_kind_is_named(key, kinds, message):
    tree = {"a": {"b": 5}, "t": True, "n": None}
    assert take(tree, "a.b", float, "f", "") == 5
    assert take(tree, "n", (int, type(None)), "f", "") is None
    with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
        take(tree, key, kinds, "f", "mend it")


def test_long_values_are_cut_in_messages():
    assert name_kind("x" * 100) == "the text '" + "x" * 39 + "..."
    assert name_kind(10**5000) == "the whole number long"
    assert name_kind(True) == "true or false"
