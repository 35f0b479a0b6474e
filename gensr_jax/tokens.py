"""The vocabulary of the language model: which token ids stand for titles, queries and prompts.

It comes from a checkpoint's tokenizer, from a unigram tokenizer trained on the dataset's own texts,
or from the dataset's word ids. The same dataset and settings always give the same ids.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from common.data.dataset import Dataset
from common.data.texts import (
    TokenLists,
    read_query_texts,
    read_title_tokens,
    read_titles,
    read_words,
)
from common.errors import InputError
from common.json_files import parse_json, read_text
from gensr_jax.unigram import train_unigram
from gensr_jax.vocabulary import (
    ANSWERS,
    EOS,
    PAD,
    SPECIALS,
    TRAILING_MARKS,
    UNKNOWN,
    Vocabulary,
    import_tokenizers,
    make_vocabulary,
)

LONGEST_PIECE = 1000  # characters of a token: a T5's have some 16; the library dies of 300,000
KINDS = ("auto", "unigram", "words")


def choose_vocabulary(
    dataset: Dataset, kind: str, *, size: int = 4096, prompt: Sequence[str] = ()
) -> Vocabulary:
    """The vocabulary for a dataset.

    kind: "unigram" (trained on titles, queries and prompt), "words" (the dataset's own token ids),
          "auto" (unigram where there is a title, else words), or the folder of a checkpoint
    size: tokens of a trained vocabulary at the most, its 256 bytes not counted
    prompt: texts of the prompts, whose words get ids of their own where ids are made here
    Raises InputError for an unknown kind, titles without tokens, or a tokenizer that cannot be
    used.
    """
    if kind not in KINDS:
        if kind and Path(kind).is_dir():
            return open_checkpoint_tokens(Path(kind))
        raise InputError(
            f"config.text.tokens: is {kind!r}; give {', '.join(KINDS)} or a checkpoint's folder"
        )
    titles = [title for title in read_titles(dataset.path) if title]
    if kind == "unigram" or (kind == "auto" and titles):
        return train_unigram([*titles, *read_query_texts(dataset.path)], size, prompt)
    if titles and read_title_tokens(dataset.path) is None:
        raise InputError(
            f"{dataset.path / 'items.parquet'}, column text_tok: is empty, so titles have no word "
            "ids; use config.text.tokens=unigram"
        )
    return number_words(read_words(dataset.path), prompt, where=dataset.path / "tokens.parquet")


def open_checkpoint_tokens(folder: Path) -> Vocabulary:
    """The tokenizer of a Hugging Face checkpoint folder: its `tokenizer.json`.

    Raises InputError for a file that is missing or damaged, for pad and end ids other than 0 and
    1, and where Yes or No is not a single token.
    """
    library = import_tokenizers()
    file = folder / "tokenizer.json"
    try:
        content = read_text(file, "give a checkpoint with a fast tokenizer (tokenizer.json)")
        _check_pieces(file, parse_json(content, str(file), "copy it again"))
        tokenizer = library.Tokenizer.from_str(content)
        # One without an unknown token cannot do this, and would fail later.
        tokenizer.encode("\U0010fffd", add_special_tokens=False)
    except (InputError, KeyboardInterrupt):
        raise
    except BaseException as error:  # the library raises nothing narrower, nor its panics
        raise InputError(f"{file}: is no tokenizer; copy it again") from error
    tokenizer.no_padding()
    tokenizer.no_truncation()
    ids = tokenizer.token_to_id("<pad>"), tokenizer.token_to_id("</s>")
    if ids != (PAD, EOS):
        raise InputError(f"{file}: <pad> and </s> have the ids {ids}, not (0, 1); use a T5's")
    vocabulary = make_vocabulary("checkpoint", tokenizer, where=str(file))
    return replace(vocabulary, sha256=hashlib.sha256(content.encode()).hexdigest())


def _check_pieces(file: Path, tree: Mapping[str, Any]) -> None:
    """Raises InputError for a token so long that the library, which looks at one letter within the
    other, would end the program without a word."""
    model = tree.get("model")
    vocabulary = model.get("vocab") if isinstance(model, dict) else None
    entries = vocabulary if isinstance(vocabulary, list | dict) else ()
    pieces = [entry[0] if isinstance(entry, list) and entry else entry for entry in entries]
    added = tree.get("added_tokens")
    listed = added if isinstance(added, list) else ()
    pieces += [entry.get("content") for entry in listed if isinstance(entry, dict)]
    longest = max((len(piece) for piece in pieces if isinstance(piece, str)), default=0)
    if longest > LONGEST_PIECE:
        raise InputError(
            f"{file}: has a token of {longest:,} characters, more than {LONGEST_PIECE:,}; "
            "copy it again"
        )


def number_words(words: Sequence[str], prompt: Sequence[str], where: str | Path) -> Vocabulary:
    """A vocabulary of whole words: special tokens, the dataset's words, new words of the prompt.

    words: of the dataset's tokens 1, 2, ...; they keep their order
    where: what an error names, the file of the words
    """
    library = import_tokenizers()
    splits = library.pre_tokenizers.Sequence(
        [
            library.pre_tokenizers.WhitespaceSplit(),
            library.pre_tokenizers.Split(library.Regex(TRAILING_MARKS), "isolated"),
        ]
    )
    known = {*words, *SPECIALS}
    if len(known) != len(words) + len(SPECIALS):
        raise InputError(f"{where}, column word: a word stands twice; prepare the dataset again")
    found = {word for text in [*prompt, *ANSWERS] for word, _ in splits.pre_tokenize_str(text)}
    ids = {word: i for i, word in enumerate([*SPECIALS, *words, *sorted(found - known)])}
    model = library.models.WordLevel(ids, unk_token=SPECIALS[UNKNOWN])
    tokenizer = library.Tokenizer(model)
    tokenizer.pre_tokenizer = splits
    return make_vocabulary("words", tokenizer, where=str(where), first_word=len(SPECIALS))


def read_title_ids(dataset: Dataset, vocabulary: Vocabulary) -> TokenLists:
    """The token ids of each item's title, in the order of the items; empty without a title."""
    if vocabulary.first_word:
        lists = read_title_tokens(dataset.path)
        if lists is None:
            return join_lists([[]] * dataset.n_items)
        return lists._replace(values=lists.values + np.int32(vocabulary.first_word - 1))
    titles = [title or "" for title in read_titles(dataset.path)]
    return join_lists(vocabulary.encode_all(titles))


def read_query_ids(dataset: Dataset, vocabulary: Vocabulary) -> TokenLists:
    """The token ids of each query, in the order of the queries; empty without a word."""
    if vocabulary.first_word:
        tokens = dataset.query_tokens[1:]
        values = tokens[tokens != 0] + np.int32(vocabulary.first_word - 1)
        return TokenLists((tokens != 0).sum(axis=1), values)
    return join_lists(vocabulary.encode_all(read_query_texts(dataset.path)))


def join_lists(lists: Sequence[Sequence[int]]) -> TokenLists:
    """Lists of ids, one after the other."""
    lengths = np.fromiter(map(len, lists), np.int64, len(lists))
    values = np.fromiter(chain.from_iterable(lists), np.int32, int(lengths.sum()))
    return TokenLists(lengths, values)


def pad_lists(lists: TokenLists, width: int) -> np.ndarray:
    """int32 [n, width]: the first `width` ids of each list, zeros behind them."""
    padded = np.zeros((len(lists.lengths), width), np.int32)
    places = np.arange(len(lists.values)) - np.repeat(
        np.cumsum(lists.lengths) - lists.lengths, lists.lengths
    )
    kept = np.minimum(lists.lengths, width)
    padded[np.arange(width) < kept[:, None]] = lists.values[places < width]
    return padded
