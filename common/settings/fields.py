"""Settings as frozen dataclasses: what a field says of itself.

A method's settings are one tree: a dataclass whose fields are groups, and whose groups' fields are
made by `setting`. Everything else that knows a key is made from it: the configuration of a config
file, the check of every value, `--help_config`, docs/settings.md and config.json.

This room imports no jax: reading a config file must not start it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any, Literal, NamedTuple, get_args, get_origin, get_type_hints

from common.errors import InputError

_KINDS = (bool, int, float, str)
LARGEST = 2**31 - 1  # of a whole number without a bound of its own: ids and sizes are int32

# What a key is for. "run": a run's numbers hang on it. "free": they do not, so a run may go on with
# another value. "judge": how a trained model is judged; free where nothing is trained. "content": a
# path to something whose content a checkpoint knows; it may move, but not come or go.
Role = Literal["run", "free", "judge", "content"]


@dataclass(frozen=True)
class Rule:
    """What holds for the values of a setting."""

    meaning: str  # one line
    least: float | None = None
    above: float | None = None
    most: float | None = None
    below: float | None = None
    source: str = "ours"  # the paper, its released code, or our choice
    role: Role = "run"


class Setting(NamedTuple):
    """One key of a tree of settings."""

    key: str  # "train.learning_rate"
    kind: type  # bool, int, float or str
    choices: tuple[str, ...]  # of text; () = any
    default: Any
    rule: Rule

    @property
    def most(self) -> float | None:
        """The largest value; of a whole number without a bound of its own `LARGEST`."""
        rule = self.rule
        whole = self.kind is int and rule.most is None and rule.below is None
        return LARGEST if whole else rule.most

    @property
    def wanted(self) -> str:
        """What a good value is, as in "give a whole number of at least 1"."""
        if self.kind is bool:
            return "true or false"
        if self.choices:
            return f"one of {', '.join(self.choices)}" if self.choices[1:] else self.choices[0]
        if self.kind is str:
            return "text"
        rule = self.rule
        bounds = [
            f"{words} {bound}"
            for words, bound in (
                ("of at least", rule.least),
                ("above", rule.above),
                ("of at most", self.most),
                ("below", rule.below),
            )
            if bound is not None
        ]
        number = "a whole number" if self.kind is int else "a number"
        return f"{number} {' and '.join(bounds)}".strip()

    def allows(self, value: Any) -> bool:
        """Whether a value of `kind` lies within choices and bounds. NaN does not."""
        if self.kind is bool:
            return True
        if self.kind is str:
            return not self.choices or value in self.choices
        rule = self.rule
        return bool(
            value - value == 0  # neither NaN nor infinite
            and (rule.least is None or value >= rule.least)
            and (rule.above is None or value > rule.above)
            and (self.most is None or value <= self.most)
            and (rule.below is None or value < rule.below)
        )


def setting(
    default: Any,
    meaning: str,
    *,
    least: float | None = None,
    above: float | None = None,
    most: float | None = None,
    below: float | None = None,
    source: str = "ours",
    role: Role = "run",
) -> Any:
    """A field of a group: its default, what it means, its bounds and where it comes from.

    Allowed words are told by its type: `form: Literal["a", "b"] = setting("a", "...")`.
    """
    rule = Rule(meaning, least, above, most, below, source, role)
    return field(default=default, metadata={"rule": rule})


def list_settings(tree: Any) -> dict[str, Setting]:
    """Dotted key -> setting of a tree (an instance: its values are the defaults), in its order.

    Fields that `setting` has not made are no keys.
    """
    return {each.key: each for each in _walk(tree, "")}


def check_tree(tree: Any) -> None:
    """Raises InputError for a field of a method's settings that could not be a key.

    In a group that is no method's, fields that `setting` has not made are fields of the code alone.
    """
    _check_made(tree, "")


def _check_made(group: Any, prefix: str) -> None:
    kinds = get_type_hints(type(group))
    for each in fields(group):
        value, kind = getattr(group, each.name), kinds[each.name]
        if is_dataclass(value):
            _check_made(value, f"{prefix}{each.name}.")
        elif "rule" not in each.metadata:
            raise InputError(
                f"config.{prefix}{each.name}: is a plain field of {type(group).__name__}, so no "
                f'key; make it by setting({value!r}, "its meaning"), see common/settings/fields.py'
            )
        elif kind not in _KINDS and not all(type(one) is str for one in _list_choices(kind) or [0]):
            raise InputError(
                f"config.{prefix}{each.name}: {type(group).__name__} annotates it with "
                f"{getattr(kind, '__name__', kind)}; use bool, int, float, str or a Literal of "
                "texts"
            )


def _walk(group: Any, prefix: str) -> Iterator[Setting]:
    kinds = get_type_hints(type(group))
    for each in fields(group):
        value = getattr(group, each.name)
        if is_dataclass(value):
            yield from _walk(value, f"{prefix}{each.name}.")
        elif rule := each.metadata.get("rule"):
            kind = kinds[each.name]
            choices = _list_choices(kind)
            yield Setting(prefix + each.name, str if choices else kind, choices, value, rule)


def _list_choices(kind: Any) -> tuple[Any, ...]:
    return get_args(kind) if get_origin(kind) is Literal else ()
