"""Token ids of a language model: what every kind of vocabulary is, wherever it comes from."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from common.errors import InputError
from common.training.task import Identity

PAD, EOS, UNKNOWN = 0, 1, 2
SPECIALS = ("< pad >", "< end >", "< unknown >")  # with spaces: no word of a text is one of them
ANSWERS = ("Yes", "No")
TRAILING_MARKS = r"(?<=[\w)>])[.,:;?!]+$"  # "women," is the word "women" and a comma
_TEXTS_AT_ONCE = 50_000


@dataclass(frozen=True, eq=False)
class Vocabulary:
    """Token ids of a language model. Id 0 is padding, 1 the end of a text, in every kind."""

    kind: str  # "checkpoint", "unigram" or "words"
    size: int  # ids go from 0 to size - 1
    yes: int
    no: int
    first_word: int  # id of the dataset's token 1; 0 = the dataset's texts are read, not its tokens
    sha256: str  # of the tokens, their ids and scores, or of a checkpoint's tokenizer.json
    tokenizer: Any = field(repr=False)
    pad: int = PAD
    eos: int = EOS

    def encode(self, text: str) -> list[int]:
        """The ids of a text, without pads and end token, even if the text spells them."""
        return self.encode_all([text])[0]

    def encode_all(self, texts: Sequence[str]) -> list[list[int]]:
        """The ids of each text; see `encode`."""
        encoded: list[list[int]] = []
        for start in range(0, len(texts), _TEXTS_AT_ONCE):
            part = list(texts[start : start + _TEXTS_AT_ONCE])
            found = self.tokenizer.encode_batch(part, add_special_tokens=False)
            encoded += [[i for i in encoding.ids if i > EOS] for encoding in found]
        return encoded

    def decode(self, ids: Iterable[int]) -> str:
        """The text of ids; a word that the vocabulary does not know shows as such."""
        text: str = self.tokenizer.decode([int(i) for i in ids], skip_special_tokens=False)
        return text


def make_vocabulary(kind: str, tokenizer: Any, where: str, first_word: int = 0) -> Vocabulary:
    """Wraps a tokenizer. Raises InputError unless Yes and No are two tokens, one each."""
    answers = []
    for answer in ANSWERS:
        encoding = tokenizer.encode(answer, add_special_tokens=False)
        if len(encoding.ids) != 1:
            raise InputError(
                f"{where}: {answer!r} is {len(encoding.ids)} tokens "
                f"({' '.join(encoding.tokens)}); use a tokenizer with one for each of Yes and No"
            )
        answers += encoding.ids
    if answers[0] == answers[1]:
        raise InputError(f"{where}: Yes and No are the same token; use a tokenizer with both")
    return Vocabulary(
        kind=kind,
        size=1 + max(tokenizer.get_vocab().values()),  # a file may leave ids out
        yes=answers[0],
        no=answers[1],
        first_word=first_word,
        sha256=_hash_model(tokenizer),
        tokenizer=tokenizer,
    )


def _hash_model(tokenizer: Any) -> str:
    """Of the tokens with their ids and scores: the rest is made here, and how the library writes it
    changes with its versions."""
    model = json.loads(tokenizer.to_str())["model"]
    text = json.dumps([model["type"], model["vocab"]], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def identify(vocabulary: Vocabulary) -> Identity:
    """What a checkpoint keeps of a vocabulary, to refuse another one."""
    if vocabulary.kind == "checkpoint":
        remedy = "use the tokenizer.json that it was trained with"
    else:
        version = import_tokenizers().__version__
        remedy = (
            "install the version of `tokenizers` that it was trained with "
            f"(this is {version}), or train again"
        )
    return Identity("vocabulary", vocabulary.sha256, remedy)


def import_tokenizers() -> Any:
    """The library `tokenizers`. Raises InputError where it is not installed."""
    try:
        import tokenizers
    except ImportError as error:
        raise InputError("tokenizers: not installed; run `pip install 'snr-jax[gensr]'`") from error
    return tokenizers
