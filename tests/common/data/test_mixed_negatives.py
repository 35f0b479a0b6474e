"""Mixed training negatives: the three sources, their shares, and who counts as a category mate."""

import dataclasses

import numpy as np
import pytest

from common.data.hashing import NEGATIVES, TASK_STREAM, draw_uniform
from common.data.negatives import (
    CategoryMates,
    TrainingNegatives,
    log_draw_shares,
    train_items,
)
from common.errors import InputError

# Items 1..8: 1 and 2 share leaf (2, 5); 3 is alone in its leaf (1, 5), an id of another level;
# 4, 5 and 6 share leaf (1, 7); 7 and 8 have no category.
CATEGORIES = np.zeros((9, 4), np.int32)
CATEGORIES[1:3, :2] = [9, 5]
CATEGORIES[3, 0] = 5
CATEGORIES[4:7, 0] = 7


def test_mates_share_the_deepest_level():
    mates = CategoryMates(CATEGORIES)
    u = np.linspace(0.0, 1.0 - 2.0**-50, 101)
    found = {
        item: set(mates.draw(np.array([item], np.int32), u[None])[0].tolist())
        for item in range(1, 9)
    }
    assert found == {1: {2}, 2: {1}, 3: {0}, 4: {5, 6}, 5: {4, 6}, 6: {4, 5}, 7: {0}, 8: {0}}
    drawn = mates.draw(np.array([4], np.int32), u[None])[0]
    assert abs((drawn == 5).sum() - 50) <= 1  # evenly


def _naive(dataset, seed, task, row, user, positive, epoch, count, taken, mates):
    pool = np.sort(dataset.events(task).target[dataset.rows[task, "train"]])
    chosen: list[int] = []
    for draw in range(64 + 8 * count):
        if len(chosen) == count:
            break
        u = draw_uniform(seed, TASK_STREAM[task] + NEGATIVES, row, epoch * 2**32 + draw)[0]
        if u < 0.5:
            item = int(pool[int(2 * u * len(pool))])
        elif u < 0.75:
            item = 1 + int(4 * (u - 0.5) * dataset.n_items)
        else:
            rest, others = 4 * (u - 0.75), [i for i in mates[positive] if i != positive]
            known = others or pool
            item = int(known[int(rest * len(known))])
        if item != positive and item not in chosen and (user, item) not in taken:
            chosen.append(item)
    return chosen


@pytest.mark.parametrize("task", ["rec", "search"])
@pytest.mark.parametrize("seed", [0, 3, 11])
def test_lists_follow_the_rule(random_log, make_dataset, task, seed):
    dataset = make_dataset(*random_log(seed, n_items=40), n_items=40)
    categories = np.zeros((41, 4), np.int32)
    categories[1:31, 0] = np.arange(30) // 6 + 1
    categories[1:13, 1] = np.arange(12) // 3 + 1
    dataset = dataclasses.replace(dataset, item_categories=categories)
    leaf = [tuple(line) for line in categories.tolist()]
    mates = {
        i: [j for j in range(1, 41) if leaf[j] == leaf[i] and any(leaf[i])] for i in range(1, 41)
    }
    events, rows = dataset.events(task), dataset.rows[task, "train"]
    sampler = TrainingNegatives(dataset, task, "mixed", seed)
    taken = set(zip(*(column.tolist() for column in train_items(dataset)), strict=True))
    for epoch in (0, 2):
        lists = sampler.draw(rows, events.user[rows], events.target[rows], epoch, 4)
        for row, drawn in zip(rows.tolist(), lists.tolist(), strict=True):
            user, positive = int(events.user[row]), int(events.target[row])
            expected = _naive(dataset, seed, task, row, user, positive, epoch, 4, taken, mates)
            assert drawn == expected
            assert len(set(drawn)) == 4
            assert positive not in drawn
            assert not {(user, item) for item in drawn} & taken


def test_shares_of_the_three_sources(rec_events, search_events, make_dataset):
    # Popular: item 8 alone (taken by user 2). Mates of positive 4: items 5 and 6.
    rec = rec_events([(1, 1, 0, 4, 1), *[(2, t, 0, 8, 1) for t in range(1_000)]])
    dataset = dataclasses.replace(
        make_dataset(rec, search_events([]), n_items=8), item_categories=CATEGORIES
    )
    sampler = TrainingNegatives(dataset, "rec", "mixed", 0)
    n = 20_000
    drawn = sampler.draw(np.arange(n), np.full(n, 3, np.int32), np.full(n, 4, np.int32), 0, 1)
    share = np.bincount(drawn[:, 0], minlength=9) / n
    # One draw in 32 is the positive itself and is made again.
    expected = np.array([0, 1, 1, 1, 0, 5, 5, 1, 17]) / 31
    np.testing.assert_allclose(share, expected, atol=0.012)  # three standard deviations

    lonely = sampler.draw(np.arange(n), np.full(n, 3, np.int32), np.full(n, 7, np.int32), 0, 1)
    share = np.bincount(lonely[:, 0], minlength=9) / n
    expected = np.array([0, 1, 1, 1, 1, 1, 1, 0, 25]) / 31  # no mate: three in four are popular
    np.testing.assert_allclose(share, expected, atol=0.012)


def test_draws_do_not_depend_on_the_batch_and_change_with_the_epoch(random_log, make_dataset):
    dataset = make_dataset(*random_log(3, n_items=40), n_items=40)
    rows = dataset.rows["rec", "train"]
    user, item = dataset.rec.user, dataset.rec.item
    sampler = TrainingNegatives(dataset, "rec", "mixed", 0)
    together = sampler.draw(rows, user[rows], item[rows], 2, 4)
    alone = [sampler.draw(r[None], user[r][None], item[r][None], 2, 4)[0] for r in rows]
    np.testing.assert_array_equal(together, alone)
    assert (together != sampler.draw(rows, user[rows], item[rows], 3, 4)).any()


def test_there_is_no_one_probability_per_item(random_log, make_dataset):
    with pytest.raises(InputError, match=r"'mixed': no one probability per item.*use popularity"):
        log_draw_shares(make_dataset(*random_log(3)), "rec", "mixed")
