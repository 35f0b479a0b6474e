import jax
import numpy as np
import pytest

from common.data.dataset import CandidateList
from common.errors import InputError
from common.ranking.metrics import mean_metrics
from common.ranking.protocols import evaluate, make_evaluator, make_validator, put_on_device
from common.ranking.seen import find_seen


def rank_by_hand(dataset, task, params, name, protocol, filter_seen):
    """Ranks in numpy, one row at a time, in float64 from integer tables: nothing is rounded."""
    events, rows = dataset.events(name), dataset.rows[name, "test"]
    lists = dataset.load_lists(name, "test")
    line = []
    for index, row in enumerate(rows):
        user, key = events.user[row], events.ts[row]
        mine = (dataset.rec.user == user) & (dataset.rec.ts < key) & dataset.rec.positive
        earlier = (dataset.search.user == user) & (dataset.search.ts < key)
        taken = dataset.rec.item[mine].tolist()
        for search in np.flatnonzero(earlier):
            off = dataset.search.click_off
            taken += dataset.search.click_item[off[search] : off[search + 1]].tolist()
        if mine.sum() + earlier.sum() < task.view.min_history:
            continue
        target = events.target[row]
        if protocol != "full":
            others = lists[protocol].items[index, 1:]
        else:
            out = {"history": taken, "none": []}.get(filter_seen)
            if out is None:
                rec = dataset.rec.item[dataset.rows["rec", "train"]]
                out = rec[dataset.rec.user[dataset.rows["rec", "train"]] == user].tolist()
                for search in dataset.rows["search", "train"]:
                    if dataset.search.user[search] == user:
                        off = dataset.search.click_off
                        out += dataset.search.click_item[off[search] : off[search + 1]].tolist()
            others = np.setdiff1d(np.arange(1, dataset.n_items + 1), [target, *out])
        vector = params["user"][user] + params["item"][dataset.rec.item[mine][-4:]].sum(axis=0)
        if name == "search":
            vector = vector + params["query"][events.query[row]]
        own, scores = params["item"][target] @ vector, params["item"][others] @ vector
        low = 1 + (scores > own).sum()
        line.append((row, user, low, low + (scores == own).sum()))
    return np.array(line).T


@pytest.mark.parametrize("filter_seen", ["history", "train", "none"])
def test_every_protocol_ranks_as_by_hand(dataset, dot, filter_seen):
    task, params = dot.task(), dot.params(whole=True)
    result = evaluate(task, params, {}, dataset, batch_size=16, filter_seen=filter_seen)
    assert list(result.ranks) == [
        (name, protocol)
        for name in ("rec", "search")
        for protocol in ("full", "uniform12", "popularity12")
    ]
    for (name, protocol), table in result.ranks.items():
        expected = rank_by_hand(dataset, task, params, name, protocol, filter_seen)
        assert len(table.row) > 10
        assert table.tied.any() or protocol != "full"
        np.testing.assert_array_equal(np.stack(table), expected, err_msg=f"{name}/{protocol}")
    assert result.lists_per_second > 0


def test_ranks_do_not_depend_on_batch_or_chunk_size(dataset, dot):
    task, params = dot.task(), dot.params()
    first = evaluate(task, params, {}, dataset)
    for batch_size, chunk_bytes in ((1, 1), (7, 2**14), (16, 2**29)):
        other = evaluate(task, params, {}, dataset, batch_size=batch_size, chunk_bytes=chunk_bytes)
        for key, table in first.ranks.items():
            np.testing.assert_array_equal(np.stack(table), np.stack(other.ranks[key]), str(key))


def test_the_order_of_a_list_does_not_matter(dot):
    dataset = dot.dataset()

    def reverse(task, part):
        lists = dataset.load_lists(task, part)
        return {
            name: CandidateList(
                np.concatenate([stored.items[:, :1], stored.items[:, :0:-1]], axis=1), "x"
            )
            for name, stored in lists.items()
        }

    turned = dot.dataset(load_lists=reverse)
    first = evaluate(dot.task(), dot.params(), {}, dataset).ranks
    other = evaluate(dot.task(), dot.params(), {}, turned).ranks
    for key, table in first.items():
        np.testing.assert_array_equal(np.stack(table), np.stack(other[key]), str(key))


def test_details_describe_the_protocol(dataset, dot):
    result = evaluate(dot.task(), dot.params(), {}, dataset)
    rows = {name: len(result.ranks[name, "full"].row) for name in ("rec", "search")}
    lists = dataset.load_lists("rec", "test")
    assert result.details["rows"] == rows
    assert result.details["candidates"]["rec/uniform12"] == lists["uniform12"].sha256
    assert result.details["sizes"]["search/popularity12"] == dot.negatives + 1
    seen = find_seen(dataset, "rec", result.ranks["rec", "full"].row, "history")
    assert result.details["sizes"]["rec/full"] == dot.items - len(seen.items) / rows["rec"]
    assert result.details["part"] == "test"
    assert result.details["history_order"] == "time"
    assert result.details["filter_seen"] == "history"
    assert result.details["min_history"] == 1


def test_an_evaluator_compiles_once_and_follows_the_parameters(dataset, dot):
    traces = []
    plain = dot.task()

    def score(params, constants, batch):
        traces.append(batch["negatives"].shape)
        return plain.score(params, constants, batch)

    run = make_evaluator(dot.task(score=score), dataset, batch_size=16)
    first, second = run(dot.params(0), {}), run(dot.params(1), {})
    assert len(traces) <= 2  # one program, once more at most where filter lists are wider
    assert (first.ranks["rec", "full"].rank_low != second.ranks["rec", "full"].rank_low).any()
    again = run(dot.params(0), {}).ranks
    for key, table in first.ranks.items():
        np.testing.assert_array_equal(np.stack(table), np.stack(again[key]), str(key))


def test_a_method_that_cannot_score_the_catalogue_leaves_full_out(dataset, dot):
    task = dot.task()._replace(score_catalogue=None, tasks=("search",))
    result = evaluate(task, dot.params(), {}, dataset)
    assert list(result.ranks) == [("search", "uniform12"), ("search", "popularity12")]
    with pytest.raises(InputError, match="no protocol full for test rows of method dot"):
        make_evaluator(task, dataset, protocols=("full",))


def test_full_alone_needs_no_lists(dot):
    bare = dot.dataset(load_lists=lambda task, part: {})
    result = evaluate(dot.task(), dot.params(), {}, bare)
    assert list(result.ranks) == [("rec", "full"), ("search", "full")]


def test_validation_returns_means_of_the_valid_part(dataset, dot):
    task, params = dot.task(), dot.params()
    validate = make_validator(task, dataset, protocols=("uniform12",))
    whole = evaluate(task, params, {}, dataset, part="valid", protocols=("uniform12",))
    assert validate(params, {}) == mean_metrics(whole.ranks)
    assert {"rec/uniform12/NDCG@5", "mean/uniform12/MRR"} <= set(validate(params, {}))
    assert not any("/full/" in name for name in validate(params, {}))


@pytest.mark.parametrize("protocol", ["uniform12", "full"])
def test_a_score_that_is_no_number_names_task_row_and_item(dataset, dot, protocol):
    params = dot.params()
    rows = dataset.rows["rec", "test"]
    item = int(dataset.load_lists("rec", "test")["uniform12"].items[0, 5])
    params["item"][item] = np.nan
    says = r"rec.parquet, row \d+: the score of item \d+ is not finite"
    if protocol == "uniform12":
        # the item must not spoil the histories
        assert not (dataset.rec.item == item).any()
        says = rf"rec.parquet, row {rows[0] + 1}: the score of item {item} is not finite"
    with pytest.raises(FloatingPointError, match=says):
        evaluate(dot.task(), params, {}, dataset, protocols=(protocol,))


def test_nothing_to_rank_is_an_error_that_names_it(dataset, dot):
    with pytest.raises(InputError, match=r"items.parquet: no items to rank"):
        make_evaluator(dot.task(), dot.dataset(n_items=0))
    none = {**dataset.rows, ("search", "test"): np.zeros(0, np.int64)}
    with pytest.raises(InputError, match="search_test: no row with 1 or more earlier events"):
        make_evaluator(dot.task(), dot.dataset(rows=none))
    with pytest.raises(InputError, match="no protocol uniform99"):
        make_evaluator(dot.task(), dataset, protocols=("uniform99",))
    with pytest.raises(InputError, match="filter_seen = 'all': no such filter"):
        make_evaluator(dot.task(), dataset, filter_seen="all")


def test_lists_of_another_split_are_refused(dataset, dot):

    def spoil(change):
        lists = dataset.load_lists("rec", "test")["uniform12"].items
        return lambda task, part: {"uniform12": CandidateList(change(lists.copy()), "x")}

    def swap(lists):
        lists[3, [0, 1]] = lists[3, [1, 0]]
        return lists

    task = dot.task(tasks=("rec",))
    with pytest.raises(InputError, match="uniform12 of rec_test, row 4: column 0 is not"):
        make_evaluator(task, dot.dataset(load_lists=spoil(swap)))
    with pytest.raises(InputError, match=r"\d+ lists for \d+ rows"):
        make_evaluator(task, dot.dataset(load_lists=spoil(lambda x: x[1:])))


def test_host_fields_stay_on_the_host():
    batch = put_on_device({"row": np.arange(2), "target": np.arange(2, dtype=np.int32)})
    assert list(batch) == ["target"]
    assert isinstance(batch["target"], jax.Array)
