"""The released prompts, faults included."""

from __future__ import annotations

import numpy as np
import pytest

from common.errors import InputError
from gensr_jax.prompt import describe_prompt
from gensr_jax.published_prompt import Segments, build_published_prompts, mark_template
from gensr_jax.templates import REC, SEARCH
from gensr_jax.tokens import number_words

pytest.importorskip("tokenizers")

TEMPLATE = "liked <TitleList> like <FeatureList> predict <TargetTitle> with <TargetItemID> yes ?"
ASKING = "liked <TitleList> like <FeatureList> predict <TargetTitle> with <TargetItemID> on <Query>"
WORDS = ["liked", "like", "predict", "with", "yes", "?", "on", "<TargetItemID>", "<Query>"]


@pytest.fixture(scope="module")
def vocabulary():
    """3 liked, 4 like, 5 predict, 6 with, 7 yes, 8 ?, 9 on, 10 <TargetItemID>, 11 <Query>."""
    return number_words(WORDS, [], where="here")


def test_templates_are_cut_in_the_wrong_place():
    assert Segments.cut(TEMPLATE, "here") == (
        "liked ",
        " like ",
        " with <TargetItemID> yes ?",  # the sentence before it, "predict", is lost
        " with ",
        " yes ?",
    )


def test_ids_by_hand(vocabulary):
    prompts = build_published_prompts(vocabulary, 2, rec=TEMPLATE, search=ASKING)
    # The third text is as long in both; so are all others.
    assert prompts.tok.tolist() == [
        [3, 0, 4, 0, 6, 10, 7, 8, 0, 6, 0, 7, 8],
        [3, 0, 4, 0, 6, 10, 9, 11, 0, 6, 0, 9, 11],
        [3, 0, 4, 0, 6, 10, 9, 11, 0, 6, 0, 9, 11],  # the query changes nothing
        [3, 0, 4, 0, 6, 10, 9, 11, 0, 6, 0, 9, 11],  # nor that there is one
    ]
    slots = [-1, 0, -1, 1, -1, -1, -1, -1, 2, -1, 3, -1, -1]
    assert prompts.slot.tolist() == [slots] * 4
    assert prompts.mask.all()
    assert vocabulary.eos not in prompts.tok


def test_pads_stand_inside_the_row(vocabulary):
    prompts = build_published_prompts(
        vocabulary, 1, rec=TEMPLATE, search=ASKING, widths=(2, 1, 3, 0, 3)
    )
    assert prompts.tok[0].tolist() == [3, 0, 0, 4, 0, 6, 10, 7, 0, 0, 7, 8, 0]
    assert prompts.slot[0].tolist() == [-1, -1, 0, -1, 1, -1, -1, -1, 2, 3, -1, -1, -1]
    assert np.flatnonzero(~prompts.mask[0]).tolist() == [1, 12]
    shown = describe_prompt(prompts, 0, vocabulary)
    assert shown == (
        "liked [pad x 1] [hist_cf] like [hist_sem] with <TargetItemID> yes [cand_cf] [cand_sem] "
        "yes ?"
    )


def test_the_shorter_task_is_padded_to_the_longer(vocabulary):
    prompts = build_published_prompts(vocabulary, 1, rec=TEMPLATE, search=ASKING + " yes")
    assert prompts.tok.shape == (3, 15)
    assert np.flatnonzero(~prompts.mask[0]).tolist() == [8, 14]
    assert prompts.mask[1].all()


def test_the_last_text_has_32_tokens_at_the_most(vocabulary):
    prompts = build_published_prompts(vocabulary, 0, rec=TEMPLATE + " on" * 40, search=ASKING)
    assert prompts.tok.shape == (2, 1 + 1 + 44 + 1 + 32 + 4)


def test_default_templates_as_sentences():
    rec, search = (mark_template(text) for text in (REC, SEARCH))
    texts = [text.replace("{noun}", "book") for text in (rec, search)]
    vocabulary = number_words(["<Query>", "<TargetItemID>"], texts, where="here")
    prompts = build_published_prompts(vocabulary, 1, rec=rec, search=search, noun="book")
    start = (
        "Question : A user liked the following books : [hist_cf] . The semantic features of these "
        "books are : [hist_sem] with the semantic feature "
    )
    end = "Answer Yes or No . Answer :"
    assert describe_prompt(prompts, 1, vocabulary) == (
        f"{start}<TargetItemID> for the query : <Query> ? {end} [cand_cf] "
        f"with the semantic feature [cand_sem] for the query : <Query> ? {end}"
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rec": "no marks"}, r"config\.text\.rec: needs the mark <TitleList> once"),
        ({"search": TEMPLATE + "<TargetTitle>"}, r"search: needs the mark <TargetTitle>"),
        (
            {"rec": "<FeatureList> <TitleList> <TargetTitle> <TargetItemID>"},
            r"config\.text\.rec: has its marks out of order",
        ),
        ({"widths": (1, 2, 3)}, r"config\.text\.widths: is \[1, 2, 3\]; give 5"),
        ({"widths": (1, 2, 3, 4, -1)}, r"config\.text\.widths"),
    ],
)
def test_bad_templates_and_widths_are_named(vocabulary, changes, message):
    with pytest.raises(InputError, match=message):
        build_published_prompts(vocabulary, 1, **{"rec": TEMPLATE, "search": ASKING, **changes})
