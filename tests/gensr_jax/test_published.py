"""The published mode against the plain computation, from templates to losses and p(Yes)."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from common.data.view import candidate_items
from gensr_jax.published_prompt import build_published_prompts
from gensr_jax.scoring import score_candidates
from gensr_jax.settings import LossSettings
from gensr_jax.tune import tune_terms

HERE = Path(__file__).parent
REC = "liked <TitleList> features <FeatureList> so would <TargetTitle> with <TargetItemID> ? answer"
SEARCH = f"{REC.removesuffix(' ? answer')} for this <Query> ? answer"
LOSS = LossSettings(task="vocab_ce", contrastive_rows="all", contrastive_weight=0.01)

# Compiles in a fraction of the time.


def load_plain():
    spec = importlib.util.spec_from_file_location("plain", HERE / "plain_published.py")
    plain = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(plain)
    return plain


plain = load_plain()


def encode(text):
    """Token ids 5 .. 19 of words."""
    words = sorted({*REC.split(), *SEARCH.split()})
    return [5 + words.index(word) for word in text.split()]


@pytest.fixture(scope="module")
def case(drawn, released):
    """The released model with two layers in each stack and prompts from templates."""
    case = drawn({"encoder_layers": 2, "decoder_layers": 2}, **released)
    prompts = build_published_prompts(
        SimpleNamespace(encode=encode),
        len(case.constants["prompt_tok"]) - 1,
        rec=REC,
        search=SEARCH,
    )
    arrays = {
        name: jnp.asarray(getattr(prompts, name.removeprefix("prompt_")))
        for name in ("prompt_tok", "prompt_slot", "prompt_mask")
    }
    return case._replace(constants=case.constants | arrays)


@pytest.fixture(scope="module")
def expected(case):
    """What the plain computation makes of the same numbers."""
    leaves = jax.tree_util.tree_leaves_with_path(case.params)
    params = {
        jax.tree_util.keystr(path, simple=True, separator="/"): np.asarray(leaf, np.float64)
        for path, leaf in leaves
    }
    texts = {
        task: [encode(text) for text in plain.cut_texts(template)]
        for task, template in ((0, REC), (1, SEARCH))
    }
    widths = [max(len(texts[task][part]) for task in texts) for part in range(5)]
    batch = {name: np.asarray(array) for name, array in case.batch.items()}
    rows = [
        plain.Row(
            history=[*filter(None, [*batch["rec_item"][b], *batch["search_click"][b].ravel()])],
            candidate=int(candidate),
            positive=column == 0,
            texts=texts[int(batch["task"][b])],
            widths=widths,
        )
        for b in range(3)
        for column, candidate in enumerate(np.asarray(candidate_items(case.batch))[b])
    ]
    settings = case.module.settings
    sizes = plain.Sizes(
        heads=settings.heads,
        t5_heads=settings.t5.heads,
        encoder_layers=settings.t5.encoder_layers,
        decoder_layers=settings.t5.decoder_layers,
        yes=settings.yes,
        no=settings.no,
    )
    tables = (
        np.asarray(case.constants[name], np.float64 if name == "cf_table" else np.int64)
        for name in ("cf_table", "title_head", "title_full")
    )
    return plain.run_rows(params, sizes, rows, *tables)


def test_losses_and_probabilities(case, expected):
    def run(model):
        return tune_terms(model, LOSS, case.constants, case.batch, deterministic=True)

    total, metrics = jax.jit(lambda p: case.module.apply({"params": p}, method=run))(case.params)
    assert float(metrics["task"]) == pytest.approx(expected.task, rel=1e-5)
    assert float(metrics["contrastive"]) == pytest.approx(expected.contrast, rel=1e-5)
    assert float(total) == pytest.approx(expected.task + 0.01 * expected.contrast, rel=1e-5)
    score = jax.jit(lambda p: score_candidates(case.module, p, case.constants, case.batch))
    scores = score(case.params)
    np.testing.assert_allclose(np.ravel(scores), expected.probability, rtol=1e-4)


def test_the_example_has_what_is_to_be_compared(case, expected):
    """Pads inside a row, a candidate without a title, a short history, different answers."""
    mask = np.asarray(case.constants["prompt_mask"])
    assert not mask[0].all()
    assert mask[1].all()
    assert 8 in np.asarray(candidate_items(case.batch))
    assert not np.any(np.asarray(case.constants["title_full"])[8])
    assert np.ptp(np.log(expected.probability)) > 0.1
    assert expected.contrast > 5
