"""What the keys of a configuration are, for people: `--help_config` and docs/settings.md."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from itertools import groupby
from typing import Any

from common.settings.fields import Setting, list_settings

_INDENT = " " * 6


def format_keys(tree: Any) -> str:
    """One paragraph per key: its value in `tree`, what is allowed, what it means."""
    lines = []
    for each in list_settings(tree).values():
        lines.append(f"  --config.{each.key}={_show(each.default)}   ({_allowed(each)})")
        lines += textwrap.wrap(
            _explain(each), 94, initial_indent=_INDENT, subsequent_indent=_INDENT
        )
    return "\n".join(lines)


def format_page(trees: Mapping[str, Any]) -> str:
    """Markdown with one table per group of every method.

    trees: name of the method -> its settings with their defaults
    """
    parts = [_HEAD]
    for name, tree in trees.items():
        parts.append(f"\n## {name}\n")
        for group, settings in groupby(list_settings(tree).values(), _group_of):
            parts.append(f"\n**{group or 'the run'}**\n\n" + "\n".join(_rows(settings)) + "\n")
    return "".join(parts)


def _rows(settings: Iterator[Setting]) -> Iterator[str]:
    yield "| key | default | allowed | meaning | source |"
    yield "|---|---|---|---|---|"
    for each in settings:
        cells = [
            f"`{each.key}`",
            f"`{_show(each.default)}`",
            _allowed(each),
            _explain(each),
            each.rule.source,
        ]
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _group_of(each: Setting) -> str:
    return each.key.rpartition(".")[0]


def _allowed(each: Setting) -> str:
    return each.wanted.removeprefix("one of ")


def _explain(each: Setting) -> str:
    notes = {
        "free": "changes no number: a run may go on with another value",
        "judge": "free at --mode=evaluate",
        "content": "may move: a checkpoint knows its content",
    }
    note = notes.get(each.rule.role)
    return each.rule.meaning + (f" ({note})" if note else "")


def _show(value: Any) -> str:
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return text if text else '""'


_HEAD = """# Settings

Every key of every method: its default, what is allowed, what it means, and where it comes from. A
config file changes a few of them, `--config.KEY=VALUE` one for a run, and
`python -m launch.main --config=lcr_jax/configs/demo.py --help_config` shows those of a file.
Made from the settings in the code by `python -m launch.settings --out=docs/settings.md`.
"""
