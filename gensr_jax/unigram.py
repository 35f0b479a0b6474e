"""A unigram tokenizer trained on a dataset's own texts, for a language model that starts from
scratch.

Texts are lower-cased: queries come so, and a title must show the same words. Every frequent word
and every word of the prompts is one token; parts of words, chosen by the library's trainer, spell
the rest. (The trainer alone never proposes a whole word that no other word begins with.)

Half of the tokens are characters at the most, the most frequent ones: Chinese has thousands. The
256 bytes come on top, and any other character is its bytes in UTF-8 (SentencePiece's byte
fallback), so that no text, of today or unseen, has an unknown token.

The trainer sums in the order of a hash table, so its scores differ in the last digits from run to
run. Rounded scores and ids in the order of the texts take that away. Source: ours.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from gensr_jax.vocabulary import (
    ANSWERS,
    SPECIALS,
    TRAILING_MARKS,
    UNKNOWN,
    Vocabulary,
    import_tokenizers,
    make_vocabulary,
)

MIN_COUNT = 2  # of a word that becomes one token
BYTES = tuple(f"<0x{byte:02X}>" for byte in range(256))  # the names that the library asks for
_SPELT_BYTE = "<(?=0x)"  # parts a text that spells such a name, or it would be that byte
_DIGITS = 3  # of a score; the noise is below 1e-9
_STEP = 1e-4  # by which the trainer sets apart the scores of characters that it lost


def train_unigram(texts: Iterable[str], size: int, prompt: Sequence[str] = ()) -> Vocabulary:
    """A vocabulary of at most `size` tokens beside the 256 bytes, more only for the prompts.

    Order and repetition of the texts change nothing. prompt: texts whose words become one token
    each, as do Yes and No. Half of the tokens are whole words at the most.
    """
    wanted = [*prompt, *ANSWERS]
    tokenizer = _make_tokenizer()
    distinct = sorted({*texts, *wanted})
    counts = Counter(word for text in distinct for word in _split(tokenizer, text))
    own = {word for text in wanted for word in _split(tokenizer, text)}
    rare = _find_rare(counts, own, size // 2)
    scores = _choose(_train(tokenizer, distinct, rare, size), counts, own, size)
    highest = max(scores.values())
    for answer in ANSWERS:  # two tokens together score below this, so Yes and No are never split
        [word] = _split(tokenizer, answer)
        scores[word] = max(scores[word], round(1.9 * highest, _DIGITS))
    vocabulary = [(special, 0.0) for special in (*SPECIALS, *BYTES)] + sorted(scores.items())
    # A new one: the trained one would read the special tokens in a text as such.
    tokenizer = _make_tokenizer()
    tokenizer.model = import_tokenizers().models.Unigram(
        vocabulary, unk_id=UNKNOWN, byte_fallback=True
    )
    return make_vocabulary("unigram", tokenizer, where="the trained vocabulary")


def _make_tokenizer() -> Any:
    library = import_tokenizers()
    normalizers, splits, decoders = library.normalizers, library.pre_tokenizers, library.decoders
    tokenizer = library.Tokenizer(library.models.Unigram())
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = splits.Sequence(
        [
            splits.WhitespaceSplit(),
            splits.Metaspace(prepend_scheme="always"),
            splits.Split(library.Regex(TRAILING_MARKS), "isolated"),
            splits.Split(library.Regex(_SPELT_BYTE), "isolated"),
        ]
    )
    tokenizer.decoder = decoders.Sequence(
        [decoders.ByteFallback(), decoders.Metaspace(prepend_scheme="always")]
    )
    return tokenizer


def _split(tokenizer: Any, text: str) -> list[str]:
    """The words of a text as the model sees them."""
    normal = tokenizer.normalizer.normalize_str(text)
    return [word for word, _ in tokenizer.pre_tokenizer.pre_tokenize_str(normal)]


def _find_rare(counts: Mapping[str, int], own: set[str], most: int) -> set[str]:
    """The characters that get no token: all but the `most` frequent ones and the prompts' own."""
    occurrences: Counter[str] = Counter()
    for word, count in counts.items():
        for character in word:
            occurrences[character] += count
    by_count = sorted(occurrences, key=lambda character: (-occurrences[character], character))
    return set(by_count[max(most, 0) :]) - {character for word in own for character in word}


def _train(tokenizer: Any, texts: Sequence[str], rare: set[str], size: int) -> dict[str, float]:
    """Pieces and their log-probabilities, equal for equal texts; none has a rare character."""
    if rare:
        blanks = dict.fromkeys(map(ord, rare), " ")
        normal = map(tokenizer.normalizer.normalize_str, texts)
        texts = sorted({text.translate(blanks) for text in normal})
    trainer = import_tokenizers().trainers.UnigramTrainer(
        # The trainer wants a token for each character of the texts, whatever was asked for.
        vocab_size=max(size, 2 * len({character for text in texts for character in text})),
        special_tokens=list(SPECIALS),
        unk_token=SPECIALS[UNKNOWN],
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    trained = dict(json.loads(tokenizer.to_str())["model"]["vocab"])
    pieces = {piece: score for piece, score in trained.items() if piece not in SPECIALS}
    lowest = min(pieces.values())
    lost = lowest + _STEP * len([piece for piece in pieces if len(piece) == 1])
    return {
        piece: round(lowest if len(piece) == 1 and score <= lost else score, _DIGITS)
        for piece, score in pieces.items()
    }


def _choose(
    pieces: Mapping[str, float], counts: Mapping[str, int], own: set[str], size: int
) -> dict[str, float]:
    """The characters, the prompts' own words, frequent words, then the likeliest other pieces."""
    total = sum(counts.values())
    chosen = {piece: score for piece, score in pieces.items() if len(piece) == 1}
    frequent = [word for word, count in counts.items() if count >= MIN_COUNT and word not in own]
    frequent.sort(key=lambda word: (-counts[word], word))
    free = size - len(SPECIALS)
    for word in [*sorted(own), *frequent[: max(size // 2 - len(own), 0)]]:
        if word in own or len(chosen) < free:
            score = round(math.log(counts[word] / total), _DIGITS)
            chosen[word] = max(score, pieces.get(word, score))
    rest = sorted(pieces.items() - chosen.items(), key=lambda entry: (-entry[1], entry[0]))
    for piece, score in rest:
        if len(chosen) >= free:
            break
        chosen.setdefault(piece, score)
    return chosen
