"""The published vectors of the counter-based generator: data made with it must never change."""

import numpy as np
import pytest

from common.data.hashing import array_sha256, draw_uniform, draw_words, mix


def test_mix_of_zero():
    assert int(mix(0)[0]) == 0xE220A8397B1DCDAF


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ((0, 0, 0, 0), 0x2130748AAAC80268),
        ((1, 0, 0, 0), 0xE28195DDD9EE4956),
        ((0, 1, 0, 0), 0xD1C0270687984B37),
        ((0, 0, 1, 0), 0xD9EEF7F073D37C42),
        ((0, 0, 0, 1), 0x2A4F111B3BE57715),
        ((2025, 1, 123456, 98), 0xE9CD9D0FDD520A36),
    ],
)
def test_words_have_the_published_values(arguments, word):
    assert int(draw_words(*arguments)[0]) == word


def test_first_draw_in_a_catalogue_of_12101_items():
    assert 1 + int(np.floor(draw_uniform(0, 0, 0, 0)[0] * 12_101)) == 1569


def test_arrays_broadcast_to_the_single_draws():
    rows, draws = np.arange(3)[:, None], np.arange(5)
    words = draw_words(7, 1, rows, draws)
    assert words.shape == (3, 5)
    single = [[int(draw_words(7, 1, row, draw)[0]) for draw in range(5)] for row in range(3)]
    assert words.tolist() == single


def test_uniform_numbers_are_spread_over_the_unit_interval():
    u = draw_uniform(3, 0, np.arange(1_000)[:, None], np.arange(100))
    assert u.min() >= 0
    assert u.max() < 1
    counts = np.bincount((u.ravel() * 10).astype(int))
    np.testing.assert_allclose(counts / u.size, 0.1, rtol=0.03)


def test_array_hash_is_of_the_bytes_in_c_order():
    array = np.arange(6, dtype=np.int32).reshape(2, 3)
    assert array_sha256(array) == array_sha256(np.asfortranarray(array))
    assert array_sha256(array) != array_sha256(array.astype(np.int64))
