"""Which keys a run hangs on: what may differ when it goes on, is judged again, or is compared."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from common.settings.fields import Role, list_settings
from common.settings.reading import as_values, flatten


def find_roles(tree: Any) -> dict[str, Role]:
    """Dotted key -> role. A key of an old run that there is no more counts as "run"."""
    return {key: setting.rule.role for key, setting in list_settings(tree).items()}


def select_settings(
    tree: Any, values: Mapping[str, Any], *, evaluates: bool = False
) -> dict[str, Any]:
    """The keys of a configuration that the numbers of a run hang on, for a checkpoint to keep.

    values: nested, as config.json has them; evaluates: without those that only judge
    Of keys whose content has an identity of its own only whether they are set.
    """
    roles, chosen = find_roles(tree), {}
    for key, value in flatten(values).items():
        role = roles.get(key, "run")
        if role == "content":
            chosen[key] = bool(value)
        elif role == "run" or (role == "judge" and not evaluates):
            chosen[key] = value
    return chosen


def describe_evaluation(settings: Any) -> dict[str, Any]:
    """The keys that say how a model is judged, with their values, for results.json."""
    roles = find_roles(settings)
    return {key: v for key, v in flatten(as_values(settings)).items() if roles[key] == "judge"}


def newer_defaults(tree: Any) -> dict[str, Any]:
    """Defaults of the keys of a run that stand in no group: runs from before one of them was had
    its default, and a config file may leave them out.

    tree: with the method's defaults, not a run's values
    """
    keys = list_settings(tree)
    return {key: s.default for key, s in keys.items() if "." not in key and key != "method"}
