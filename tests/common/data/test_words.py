"""Words of texts: ASCII as ever, scripts without blanks by characters and pairs, one folding."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.data.bm25 import build_index, rank_hits, split_words
from common.data.words import find_words, fold_query, fold_text


@given(st.text(st.characters(max_codepoint=127)))
@settings(derandomize=True, deadline=None)
def test_ascii_texts_have_the_words_they_always_had(text):
    assert find_words(text) == re.findall(r"\w+", text.lower())
    assert fold_query(text) == (" ".join(text.lower().split()) or text)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("红色鞋", ["红", "红色", "色", "色鞋", "鞋"]),
        ("鞋", ["鞋"]),
        ("ラーメン", ["ラ", "ラー", "ー", "ーメ", "メ", "メン", "ン"]),
        ("東京、大阪", ["東", "東京", "京", "大", "大阪", "阪"]),  # no pair over a comma
        ("ไทย ดี", ["ไ", "ไท", "ท", "ทย", "ย", "ดี"]),  # a vowel sign stays on its consonant
        ("မြန်", ["မြ", "မြန်", "န်"]),
        ("iPhone手机 壳", ["iphone", "手", "手机", "机", "壳"]),
        ("100均", ["100", "均"]),
        ("한국어 신발", ["한국어", "신발"]),
        ("हिन्दी किताब", ["हिन्दी", "किताब"]),
        ("Straße ΣΊΣΥΦΟΣ", ["strasse", "σίσυφοσ"]),
        ("❤️ …", []),
    ],
)
def test_words_of_many_scripts(text, words):
    assert find_words(text) == words


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("ｉＰｈｏｎｅ　１５", "iphone 15"),  # full width
        ("ﾊﾝｶｸ", "ハンカク"),  # half width, and its voiced marks:
        ("ﾊﾞｯｸﾞ", "バッグ"),
        ("e\u0301te\u0301", "été"),
        ("ﬁne", "FINE"),
        ("sham\u00adpoo", "shampoo"),
        ("葛\U000e0100飾", "葛飾"),
        ("ΣΑΣ", "σας"),
        ("İ", "i\u0307"),
    ],
)
def test_spellings_of_one_word(one, other):
    assert find_words(one) == find_words(other)
    assert fold_query(one) == fold_query(other)


def test_superscripts_and_fractions_are_not_written_out():
    assert find_words("Olay™ 1½ cm²") == ["olay", "1½", "cm²"]
    assert fold_text("Olay™") == "olay™"


@pytest.mark.parametrize("text", ["\u200d", "\u200b", "™", "\ufe0f"])
def test_a_query_is_never_stored_without_a_text(text):
    assert fold_query(text)
    assert find_words(text) == []


@given(st.text())
@settings(derandomize=True, deadline=None)
def test_a_folded_text_has_the_same_words_and_folds_to_itself(text):
    assert find_words(fold_text(text)) == find_words(text)
    assert fold_text(fold_text(text)) == fold_text(text)
    assert all(words.strip() for words in find_words(text))


def test_bm25_finds_texts_without_blanks():
    """One long clause used to be one word: nothing but the whole clause could find it."""
    titles = [None, "红色运动鞋", "绿茶茶叶", "运动裤红色", "茶壶"]
    numbers = {}
    items = split_words(titles, numbers)
    index = build_index(items, split_words([None, "运动鞋", "茶", "色红"], numbers))
    assert rank_hits(index, 1).tolist() == [1, 3]  # both have 运动, one has 动鞋 too
    assert set(rank_hits(index, 2).tolist()) == {2, 4}
    assert rank_hits(index, 3).tolist() == [1, 3]  # the characters, though not the pair
