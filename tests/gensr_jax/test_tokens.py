"""The three kinds of vocabulary, and what is refused."""

from __future__ import annotations

import hashlib
import json
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.errors import InputError
from gensr_jax.tokens import (
    choose_vocabulary,
    join_lists,
    number_words,
    open_checkpoint_tokens,
    pad_lists,
    read_query_ids,
    read_title_ids,
)
from gensr_jax.unigram import train_unigram
from gensr_jax.vocabulary import identify, make_vocabulary

tokenizers = pytest.importorskip("tokenizers")


def make_texts(seed: int = 0) -> list[str]:
    """Titles of made-up words; many pieces are equally likely."""
    rng = np.random.default_rng(seed)
    parts = ["ba", "do", "ki", "lu", "me", "ra", "so", "ti"]
    words = ["".join(rng.choice(parts, 3)) for _ in range(80)]
    return [" ".join(rng.choice(words, 4)) for _ in range(120)]


def test_two_trainings_give_the_same_ids():
    texts = make_texts()
    first = train_unigram(texts, 120, ["Answer Yes or No."])
    again = train_unigram([*texts[::-1], *texts], 120, ["Answer Yes or No."])
    assert first.sha256 == again.sha256
    assert first.encode_all(texts) == again.encode_all(texts)
    assert first.sha256 != train_unigram(make_texts(1), 120).sha256


def test_ids_do_not_hang_on_the_noise_of_the_trainer():
    """Ids stand in the order of the texts, scores are rounded, lost characters are equal."""
    model = json.loads(train_unigram(make_texts(), 120).tokenizer.to_str())["model"]
    pieces, scores = zip(*model["vocab"][3 + 256 :], strict=True)
    assert list(pieces) == sorted(pieces)
    assert all(score == round(score, 3) for score in scores)


def test_special_ids_and_answers_of_a_trained_vocabulary():
    vocabulary = train_unigram(make_texts(), 120)
    assert (vocabulary.pad, vocabulary.eos) == (0, 1)
    assert vocabulary.size == 120 + 256
    assert vocabulary.encode("Yes") == [vocabulary.yes]
    assert vocabulary.encode(" No ") == [vocabulary.no]
    assert len({0, 1, 2, vocabulary.yes, vocabulary.no}) == 5
    assert not {0, 1} & set(vocabulary.encode("<pad> </s> < pad > < end >"))
    assert vocabulary.encode("") == vocabulary.encode("  ") == []


def test_answers_stay_whole_where_their_parts_are_frequent():
    parts = ["ye", "s", "y", "es", "n", "o", "yen", "noes", "sn"]
    rng = np.random.default_rng(0)
    texts = [" ".join(rng.choice(parts, 6)) for _ in range(200)]
    vocabulary = train_unigram(texts, 40)
    assert vocabulary.encode("Answer Yes or No.")[-2] == vocabulary.no
    assert vocabulary.yes in vocabulary.encode("Answer Yes or No.")


def test_frequent_words_are_one_token_and_the_rest_is_spelt():
    vocabulary = train_unigram(["Zabuko red", "zabuko, blue", "kobuza"], 60)
    [whole] = vocabulary.encode("zabuko")
    assert vocabulary.encode("Zabuko,")[0] == whole  # the comma is a token of its own
    rare = vocabulary.encode("buzako")
    assert len(rare) > 1
    assert vocabulary.decode(rare) == "buzako"
    assert vocabulary.decode(vocabulary.encode("Zabuko, red")) == "zabuko, red"


def make_chinese(seed: int = 0) -> list[str]:
    """Titles without blanks, of 4,200 characters, each in two titles or more."""
    rng = np.random.default_rng(seed)
    characters = [chr(0x4E00 + i) for i in range(4_200)]
    order = np.concatenate([rng.permutation(4_200) for _ in range(2)]).reshape(-1, 8)
    common = ["".join(rng.choice(characters[:300], 10)) for _ in range(400)]
    return [*("".join(characters[i] for i in row) for row in order), *common]


def test_more_characters_than_tokens_are_spelt_in_bytes():
    texts = make_chinese()
    vocabulary = train_unigram(texts, 4_096, ["Answer Yes or No."])
    assert vocabulary.size <= 4_096 + 256
    assert vocabulary.sha256 == train_unigram(texts[::-1], 4_096, ["Answer Yes or No."]).sha256
    for text in [*texts[:50], *texts[-50:]]:
        assert vocabulary.decode(vocabulary.encode(text)) == text
    spelt = np.mean([sum(3 <= i < 259 for i in vocabulary.encode(t)) > 0 for t in texts[-400:]])
    assert spelt == 0  # frequent characters are tokens
    assert len(vocabulary.encode("Answer Yes or No.")) == 5


@given(st.text(st.characters(codec="utf-8", exclude_characters="\u2581")))  # it stands for a blank
@settings(derandomize=True, deadline=None)
def test_no_text_has_an_unknown_token(trained, text):
    ids = trained.encode(text)
    assert all(3 <= i < trained.size for i in ids)
    normal = trained.tokenizer.normalizer.normalize_str(text)
    assert trained.decode(ids).split() == normal.split()


@pytest.fixture(scope="module")
def trained():
    return train_unigram(make_texts(), 120)


def test_unseen_characters_are_their_bytes():
    vocabulary = train_unigram(make_texts(), 120)
    first = vocabulary.tokenizer.token_to_id("<0x00>")
    assert first == 3
    spelt = [first + byte for byte in "\u4e2d".encode()]
    assert vocabulary.encode("\u4e2d")[-3:] == spelt
    assert vocabulary.decode(spelt) == "\u4e2d"
    # A text that spells the name of such a token is not the byte.
    assert vocabulary.decode(vocabulary.encode("<0x41>")) == "<0x41>"


@pytest.mark.parametrize("size", [-5, 0, 1, 30])
def test_a_small_vocabulary_has_what_it_needs(size):
    """The trainer used to stop with "The vocabulary is not large enough"."""
    vocabulary = train_unigram(make_texts(), size, ["predict whether: "])
    assert vocabulary.decode(vocabulary.encode("predict baz")) == "predict baz"
    assert vocabulary.encode("Yes") == [vocabulary.yes]


def test_words_of_the_prompt_are_one_token_each():
    vocabulary = train_unigram(make_texts(), 150, ["predict whether: ", "? predict"])
    assert len(vocabulary.encode("predict whether")) == 2
    assert len(vocabulary.encode("predict whether:")) == 3


def test_word_ids_are_the_datasets_with_the_prompts_behind(text_dataset):
    dataset = text_dataset(titles=(None, None, None))
    vocabulary = choose_vocabulary(dataset, "auto", prompt=["the cup: ", "Answer No."])
    assert vocabulary.kind == "words"
    # 0 pad, 1 end, 2 unknown, 3..11 the words, then . : Answer No Yes the
    assert vocabulary.size == 18
    assert (vocabulary.no, vocabulary.yes) == (15, 16)
    assert vocabulary.encode("the cup: what") == [17, 3, 13, 2]
    assert vocabulary.decode([17, 3, 13, 2]) == "the cup : < unknown >"
    titles, queries = read_title_ids(dataset, vocabulary), read_query_ids(dataset, vocabulary)
    assert titles.lengths.tolist() == [2, 0, 3]
    assert titles.values.tolist() == [5, 4, 3, 11, 4]
    assert queries.lengths.tolist() == [2, 1, 2]
    assert queries.values.tolist() == [5, 4, 3, 3, 5]


def test_texts_are_read_where_there_are_titles(text_dataset):
    dataset = text_dataset()
    vocabulary = choose_vocabulary(dataset, "auto", size=60)
    assert vocabulary.kind == "unigram"
    titles, queries = read_title_ids(dataset, vocabulary), read_query_ids(dataset, vocabulary)
    assert titles.lengths[1] == 0
    first = titles.values[: titles.lengths[0]]
    np.testing.assert_array_equal(first, queries.values[: queries.lengths[0]])  # "Red pot"
    assert vocabulary.decode(first) == "red pot"
    assert vocabulary.decode(queries.values[-queries.lengths[2] :]) == "cup red"  # of its words


def test_a_dataset_without_any_text_has_words(text_dataset):
    dataset = text_dataset(titles=(None, None), text_tok=(None, None))
    lists = read_title_ids(dataset, choose_vocabulary(dataset, "auto"))
    assert lists.lengths.tolist() == [0, 0]


def make_checkpoint(folder, pieces=("Yes", "No", "a", "cup"), specials=("<pad>", "</s>", "<unk>")):
    """A tokenizer as T5 checkpoints have it: an end token behind, cut to 2 tokens."""
    vocabulary = [(special, 0.0) for special in specials]
    vocabulary += [("\u2581" + piece, -2.0) for piece in pieces]
    vocabulary += [(letter, -5.0) for letter in "\u2581YNesoacup"]
    tokenizer = tokenizers.Tokenizer(tokenizers.models.Unigram(vocabulary, unk_id=2))
    tokenizer.add_special_tokens(list(specials))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Metaspace()
    tokenizer.decoder = tokenizers.decoders.Metaspace()
    tokenizer.post_processor = tokenizers.processors.TemplateProcessing(
        single="$A </s>", special_tokens=[("</s>", specials.index("</s>"))]
    )
    tokenizer.enable_truncation(2)
    tokenizer.enable_padding(length=8)
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


def test_checkpoint_tokenizer(tmp_path, text_dataset):
    folder = tmp_path / "t5"
    folder.mkdir()
    vocabulary = choose_vocabulary(text_dataset(), str(make_checkpoint(folder)))
    assert vocabulary.kind == "checkpoint"
    assert (vocabulary.yes, vocabulary.no, vocabulary.size) == (3, 4, 17)
    assert vocabulary.encode("a cup No") == [5, 6, 4]  # no end token, not cut, no pads
    assert vocabulary.encode_all(["a cup", ""]) == [[5, 6], []]
    assert vocabulary.decode([5, 6]) == "a cup"
    assert vocabulary.encode("a</s> <pad> cup")[0] == 5  # a title that spells special tokens
    assert min(vocabulary.encode("a</s> <pad> cup")) > 1
    assert open_checkpoint_tokens(folder).sha256 == vocabulary.sha256


def test_checkpoints_that_cannot_be_used(tmp_path, text_dataset):
    with pytest.raises(InputError, match=r"tokenizer\.json: missing"):
        open_checkpoint_tokens(tmp_path)
    make_checkpoint(tmp_path, pieces=("No", "Y"))
    with pytest.raises(InputError, match=r"tokenizer\.json: 'Yes' is 3 tokens \(.Y e s\); use"):
        open_checkpoint_tokens(tmp_path)
    make_checkpoint(tmp_path, specials=("<unk>", "<pad>", "</s>"))
    with pytest.raises(InputError, match=r"have the ids \(1, 2\), not \(0, 1\)"):
        open_checkpoint_tokens(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(InputError, match="is no tokenizer"):
        open_checkpoint_tokens(tmp_path)


def test_other_bad_input(text_dataset, monkeypatch):
    with pytest.raises(InputError, match=r"config\.text\.tokens: is 'wordz'; give auto, unigram"):
        choose_vocabulary(text_dataset(), "wordz")
    with pytest.raises(InputError, match=r"column text_tok: is empty"):
        choose_vocabulary(text_dataset(text_tok=(None, None, None)), "words")
    with pytest.raises(InputError, match=r"tokens\.parquet, column word: a word stands twice"):
        number_words(["cup", "cup"], [], where="tokens.parquet")
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(InputError, match=r"tokenizers: not installed; run `pip install"):
        choose_vocabulary(text_dataset(), "auto")


def test_identity_hangs_on_ids_and_not_on_how_the_library_writes_them(tmp_path):
    first = number_words(["cup", "pot"], ["liked ?"], where="here")
    again = number_words(["cup", "pot"], ["liked ?"], where="here")
    again.tokenizer.enable_truncation(3)  # changes its file
    assert identify(first) == identify(make_vocabulary("words", again.tokenizer, "here", 3))
    assert identify(first).value != identify(number_words(["pot", "cup"], [], "here")).value
    assert f"this is {tokenizers.__version__}" in identify(first).remedy
    own = identify(open_checkpoint_tokens(make_checkpoint(tmp_path)))
    assert own.remedy == "use the tokenizer.json that it was trained with"
    assert own.value == hashlib.sha256((tmp_path / "tokenizer.json").read_bytes()).hexdigest()


def test_lists_are_cut_and_padded():
    lists = join_lists([[5, 6, 7], [], [8]])
    np.testing.assert_array_equal(pad_lists(lists, 2), [[5, 6], [0, 0], [8, 0]])
    np.testing.assert_array_equal(pad_lists(lists, 4), [[5, 6, 7, 0], [0] * 4, [8, 0, 0, 0]])
    assert pad_lists(join_lists([[], []]), 3).tolist() == [[0] * 3] * 2
    assert pad_lists(join_lists([]), 3).shape == (0, 3)


def test_the_size_is_of_the_largest_id_and_not_of_the_count(tmp_path):
    """A tokenizer may leave ids out: what is looked up is an id."""
    folder = make_checkpoint(tmp_path)
    whole = open_checkpoint_tokens(folder)
    assert whole.size == whole.tokenizer.get_vocab_size()
    content = json.loads((folder / "tokenizer.json").read_text())
    content["added_tokens"].append(
        {"id": 500, "content": "<far>", "single_word": False, "lstrip": False, "rstrip": False,
         "normalized": False, "special": True}
    )  # fmt: skip
    (folder / "tokenizer.json").write_text(json.dumps(content))
    far = open_checkpoint_tokens(folder)
    assert far.tokenizer.get_vocab_size() < 500
    assert far.tokenizer.token_to_id("<far>") == far.size - 1


@pytest.mark.parametrize("content", [b"[" * 100_000, b"\xff\xfe", b'{"model": {"type": "x"}}', b""])
def test_a_damaged_tokenizer_is_one_line(content, tmp_path):
    (tmp_path / "tokenizer.json").write_bytes(content)
    with pytest.raises(InputError, match=r"tokenizer\.json") as error:
        open_checkpoint_tokens(tmp_path)
    assert "\n" not in str(error.value)
