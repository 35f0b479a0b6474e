"""What a terminal would obey is printed as letters."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.printable import cut, printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain text", "plain text"),
        ("Größe 中文 👩\u200d🔬", "Größe 中文 👩\u200d🔬"),
        ("\x1b[2J\x1b]0;title\x07", "\\x1b[2J\\x1b]0;title\\x07"),
        ("\x9b31m", "\\x9b31m"),  # the same sequence in one character
        ("good\rbad", "good\\rbad"),
        ("a\u202etxt.exe", "a\\u202etxt.exe"),
        ("\ud83d alone", "\\ud83d alone"),
        ("two\nlines", "two\nlines"),
        ("tab\tand \u2028", "tab\\tand \\u2028"),
        ("\U000e0041", "\\U000e0041"),
    ],
)
def test_hidden_characters_are_written_out(text, shown):
    assert printable(text) == shown
    assert printable(text, keep="") == shown.replace("\n", "\\n")


@given(st.text())
def test_nothing_hidden_is_left_and_nothing_else_changes(text):
    shown = printable(text)
    hidden = {char for char in shown if unicodedata.category(char) in ("Cc", "Cf", "Cs")}
    assert hidden <= set("\n\u200c\u200d")
    assert printable(shown) == shown
    shown.encode("utf-8")


def test_a_long_text_is_cut():
    assert cut("glass teapot", 12) == "glass teapot"
    assert cut("glass teapots", 12) == "glass teapot..."
