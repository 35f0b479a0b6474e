"""The sources by name: which files are read, and by which reader."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from common.data.readers.table_options import TableOptions
from common.data.schema import SourceTables
from common.errors import InputError

SOURCES = ("synthetic", "tables", "amazon_2014")


@dataclass(frozen=True)
class SourceOptions(TableOptions):
    """Where data come from, and how they are read; the flags of `launch.prepare` tell each."""

    source: str = "tables"  # one of SOURCES
    raw: str | None = None  # folder of the raw files
    truth: str | None = None  # folder with the planted truth of `raw`
    seed: int = 0
    # synthetic
    preset: str = "demo"
    # amazon_2014
    category: str | None = None
    order: str | None = None
    search_share: float = 1.0
    query_mode: str = "copy"
    letters_only: bool = True
    drop_root: bool = False


def read_source(
    options: SourceOptions, say: Callable[[str], None] = lambda _: None
) -> SourceTables:
    """The tables of a source. Raises InputError naming file, row, column and mend."""
    if options.source not in SOURCES:
        raise InputError(f"source {options.source!r}: unknown; use {' or '.join(SOURCES)}")
    if options.source != "synthetic" and not options.raw:
        raise InputError("--raw: missing; give the folder of the raw files")
    tables = _read(options, say)
    if options.truth:
        from common.data.readers.truth_tables import add_truth

        tables = add_truth(tables, Path(options.truth), say=say)
    return tables


def _read(options: SourceOptions, say: Callable[[str], None]) -> SourceTables:
    # Each reader is imported where it is needed: none should wait for the others.
    if options.source == "synthetic":
        from common.data.readers.synthetic import generate

        say(f"generating {options.preset}")
        return generate(options.preset, options.seed)
    raw = Path(options.raw or "")
    if options.source == "tables":
        from common.data.readers.tables import read_tables

        return read_tables(raw, options, say=say)

    from common.data.pseudo_queries import Recipe
    from common.data.readers.amazon_2014 import read_amazon

    recipe = Recipe(
        letters_only=options.letters_only,
        drop_root=options.drop_root,
        search_share=options.search_share,
        mode=options.query_mode,
    )
    order = Path(options.order) if options.order else None
    return read_amazon(
        raw, options.category, recipe=recipe, seed=options.seed, order=order, say=say
    )
