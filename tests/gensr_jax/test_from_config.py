"""From configurations to tasks: what is refused, and what an ablation changes."""

from __future__ import annotations

import numpy as np
import pytest

from common.data.folder import PrepareSettings, write_dataset
from common.data.loading import load_dataset
from common.data.readers.synthetic import generate
from common.errors import InputError
from common.settings.reading import read_settings
from gensr_jax import build, from_config
from gensr_jax.configs import base, beauty, demo, flan_t5_base, tiny
from gensr_jax.configs.ablations import ABLATIONS
from gensr_jax.settings import Settings
from gensr_jax.tokens import choose_vocabulary


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "tiny"
    write_dataset(path, generate("tiny"), PrepareSettings(negatives=20))
    return load_dataset(path)


@pytest.fixture(autouse=True)
def known_vocabulary(monkeypatch):
    """Trains each vocabulary once."""
    found = {}

    def choose(dataset, kind, *, size, prompt):
        key = (dataset.sha256, kind, size, tuple(prompt))
        if key not in found:
            found[key] = choose_vocabulary(dataset, kind, size=size, prompt=prompt)
        return found[key]

    monkeypatch.setattr(from_config, "choose_vocabulary", choose)


@pytest.mark.parametrize("file", [base, beauty, demo, flan_t5_base, tiny], ids=lambda f: f.__name__)
def test_every_config_takes_every_ablation(file):
    keys = set(base.get_config().to_dict())
    for name in ("", *ABLATIONS):
        config = file.get_config(name)
        assert set(config.to_dict()) == keys
        from_config.check_settings(read_settings(Settings(), config))


@pytest.mark.parametrize("name", ["", "published", "no_task_prompt", "no_cf", "no_semantic"])
def test_tasks_can_be_built(dataset, name, capsys):
    task = build(tiny.get_config(name), dataset)
    stages = ["tune"] if name == "no_cf" else ["pretrain_cf", "tune"]
    assert [stage.name for stage in task.stages] == stages
    assert task.tasks == ("rec", "search")
    assert (not task.retrievers) == (name == "no_cf")
    assert "texts: unigram vocabulary of" in capsys.readouterr().err
    assert task.stages[-1].view.fresh_negatives == (name != "published")


def test_published_prompts_never_hold_the_query(dataset):
    _, texts = from_config.read_texts(tiny.get_config("published"), dataset)
    assert np.all(texts.prompt_tok[1:] == texts.prompt_tok[1])
    assert (~texts.prompt_mask).any()  # pads inside the row
    _, corrected = from_config.read_texts(tiny.get_config(), dataset)
    assert len(np.unique(corrected.prompt_tok[1:], axis=0)) > 1
    _, same = from_config.read_texts(tiny.get_config("no_task_prompt"), dataset)
    length = int(same.prompt_mask[0].sum()) - 1  # without its end
    assert np.all(same.prompt_tok[:, :length] == same.prompt_tok[0, :length])


def test_an_own_table_takes_the_place_of_lightgcn(dataset, tmp_path):
    file = tmp_path / "items.npy"
    config = tiny.get_config()
    config.cf.given = str(file)
    with pytest.raises(InputError, match=r"items\.npy: missing; mend config\.cf\.given"):
        build(config, dataset)
    table = np.ones((dataset.n_items + 1, config.cf.width), np.float32)
    np.save(file, table)
    with pytest.raises(InputError, match="row 0 is for no item"):
        build(config, dataset)
    np.save(file, table[1:])
    with pytest.raises(InputError, match=rf"give float32 \[{dataset.n_items + 1}, 16\]"):
        build(config, dataset)
    table[0] = 0
    np.save(file, table)
    task = build(config, dataset)
    assert [stage.name for stage in task.stages] == ["tune"]
    assert not task.retrievers


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("loss.task", "hinge", "config.loss.task = 'hinge': give one of bce_z, group"),
        ("loss.task", "vocab_ce", "config.loss.task = vocab_ce: needs config.model.head=full"),
        ("model.heads", 3, "config.model.heads = 3: does not divide config.cf.width, 16"),
        ("eval.evidence", True, "config.eval.evidence: GenSR gives searches no weights"),
        ("train.negatives", 0, "config.train.negatives = 0: give a whole number of at least 1"),
        ("text.tokens", "bpe", "config.text.tokens: is 'bpe'; give auto"),
        ("text.search", "{hist_cf}", "config.text.search: lacks {query}"),
    ],
)
def test_bad_settings_name_their_key(dataset, key, value, message):
    config = tiny.get_config()
    config.update_from_flattened_dict({key: value})
    with pytest.raises(InputError) as caught:
        build(config, dataset)
    assert str(caught.value).startswith(message)


def test_both_views_off_is_refused():
    config = tiny.get_config("no_cf+no_semantic")
    with pytest.raises(InputError, match="both views are off"):
        from_config.check_settings(read_settings(Settings(), config))


@pytest.mark.parametrize("arg", ["published", "fault_schedule"])
def test_the_release_has_one_rate_for_everything(arg):
    """A config of ours that raises a share must not change what the release computes."""
    assert demo.get_config().train.word_rate_share > 1
    train = demo.get_config(arg).train
    assert (train.t5_rate_share, train.word_rate_share) == (1.0, 1.0)


def test_published_mode_decays_tables():
    assert demo.get_config("published").train.decay_tables
    assert not demo.get_config().train.decay_tables
