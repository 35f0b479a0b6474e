"""Values into a tree of settings: what is taken, and what is refused with its key."""

from __future__ import annotations

import math
from dataclasses import FrozenInstanceError, dataclass, replace
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.configs.making import make_config
from common.errors import InputError
from common.settings.fields import check_tree, list_settings, setting
from common.settings.reading import (
    as_values,
    check_value,
    flatten,
    parse_value,
    read_settings,
    take_fields,
)


@dataclass(frozen=True)
class Net:
    width: int = setting(8, "numbers in a vector", least=1)
    share: float = setting(0.5, "of something", least=0, below=1)
    form: Literal["a", "b"] = setting("a", "which one")
    rate: float = setting(0.1, "without an upper bound", above=0)


@dataclass(frozen=True)
class Tree:
    name: str = setting("", "of the run")
    net: Net = Net()
    deep: bool = setting(True, "whether")


TREE = Tree(net=Net(width=4))
WIDTH, SHARE, FORM, RATE = (
    list_settings(TREE)[f"net.{name}"] for name in ("width", "share", "form", "rate")
)


def test_keys_stand_in_the_order_of_the_fields_with_the_values_of_the_tree():
    keys = list_settings(TREE)
    assert list(keys) == ["name", "net.width", "net.share", "net.form", "net.rate", "deep"]
    assert [each.default for each in keys.values()] == ["", 4, 0.5, "a", 0.1, True]
    assert [each.kind for each in keys.values()] == [str, int, float, str, float, bool]
    assert keys["net.form"].choices == ("a", "b")


def test_what_is_written_is_read_again():
    other = Tree("x", Net(2, 0.25, "b", 0.5), False)
    assert read_settings(TREE, as_values(other)) == other
    assert read_settings(TREE, make_config(other)) == other
    assert read_settings(TREE, other) is other
    assert flatten(as_values(other))["net.form"] == "b"
    with pytest.raises(FrozenInstanceError):
        other.deep = True


def test_a_config_takes_neither_new_keys_nor_other_kinds():
    config = make_config(TREE)
    with pytest.raises(AttributeError, match="widht"):
        config.net.widht = 3
    with pytest.raises(TypeError):
        config.net.width = "3"


def test_whole_numbers_and_floats_are_taken_for_each_other_where_nothing_is_lost():
    assert type(check_value(SHARE, 0)) is float
    assert type(check_value(WIDTH, 3.0)) is int
    with pytest.raises(InputError, match=r"net\.width = 2\.5: give a whole number of at least 1"):
        check_value(WIDTH, 2.5)


@pytest.mark.parametrize(
    ("each", "value"),
    [
        (WIDTH, 0), (WIDTH, 2**31), (WIDTH, True), (WIDTH, "3"), (WIDTH, None), (WIDTH, [1]),
        (SHARE, 1.0), (SHARE, -1e-9), (SHARE, math.nan), (SHARE, math.inf), (SHARE, "0.5"),
        (SHARE, 10**400), (RATE, 10**400),
        (FORM, "c"), (FORM, "A"), (FORM, 1), (FORM, ""),
    ],
)  # fmt: skip
def test_what_is_no_value_is_refused_in_one_line_with_its_key(each, value):
    with pytest.raises(InputError, match=rf"^config\.{each.key} = .*: give ") as caught:
        check_value(each, value)
    assert "\n" not in str(caught.value)


def test_a_message_tells_the_bound_that_is_broken():
    with pytest.raises(InputError, match=r"of at least 1 and of at most 2147483647 \("):
        check_value(WIDTH, 3_000_000_000)


@pytest.mark.parametrize("kind", [int | None, list[int], tuple, Literal[1, 2]])
def test_a_setting_of_a_kind_that_no_configuration_has_is_named(kind):
    @dataclass(frozen=True)
    class Group:
        size: int = setting(0, "of something")

    Group.__annotations__["size"] = kind
    with pytest.raises(InputError, match=r"^config\.size: Group annotates it with .*; use bool, "):
        check_tree(Group())


def test_a_number_that_python_does_not_write_is_refused_too():
    for each in (WIDTH, RATE):  # its digits would be the test's name
        with pytest.raises(InputError, match=r" = a number of too many digits: give "):
            check_value(each, 10**5000)


@given(st.text(max_size=8))
def test_a_text_is_a_value_or_refused(text):
    for each in list_settings(TREE).values():
        try:
            value = parse_value(each, text)
        except InputError:
            continue
        assert type(value) is each.kind
        assert each.allows(value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"nett": {}}, r"config\.nett: no such key in .*; did you mean config\.net"),
        ({"width": 3}, r"config\.width: no such key in .*; did you mean config\.net\.width"),
        ({"net": {}}, r"config\.net\.width: missing in the config file"),
        ({"net": 3}, r"config\.net\.width: has no group"),
        ({"deep": {"a": 1}}, r"config\.deep: is a group of keys"),
        ({"net": {"width": 3}}, r"config\.net\.share: missing in the config file; give a number"),
    ],
)
def test_another_shape_of_the_tree_is_named(change, message):
    values = as_values(TREE) | change
    if message is None:
        assert read_settings(TREE, values) == TREE
        return
    with pytest.raises(InputError, match=f"^{message}"):
        read_settings(TREE, values)


def test_missing_keys_may_have_their_defaults_which_is_told():
    told = []
    assert read_settings(TREE, {"net": {"share": 0.1}}, fill=told.extend) == replace(
        TREE, net=replace(TREE.net, share=0.1)
    )
    assert told == ["name", "net.width", "net.form", "net.rate", "deep"]


def test_fields_are_taken_from_the_last_group_that_has_them():
    @dataclass(frozen=True)
    class Both:
        width: int = 0
        deep: bool = False
        other: str = ""

    assert take_fields(Both, TREE.net, TREE, other="x") == Both(4, True, "x")
    assert take_fields(Both, Net(1), Net(2)) == Both(2)
