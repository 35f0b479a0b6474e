"""The site of the documents: made without a warning, complete, and nothing in it is fetched."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
DOCS = sorted((ROOT / "docs").glob("*.md"))
HOME = {"README.md": "index", "CHANGELOG.md": "changelog", "CONTRIBUTING.md": "contributing"}
PAGES = {path: path.stem for path in DOCS} | {ROOT / name: page for name, page in HOME.items()}


def build(config, site):
    return subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--config-file", config,
         "--site-dir", site],
        capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The folder of the site."""
    folder = tmp_path_factory.mktemp("site")
    done = build(ROOT / "mkdocs.yml", folder)
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
    return folder


@pytest.mark.parametrize("source", PAGES, ids=lambda path: path.name)
def test_every_page_is_there_and_reads_as_on_github(source, site):
    """GitHub starts a list or a table without a blank line before it; here it would be text."""
    text = re.sub(r"```.*?```", "", source.read_text(), flags=re.S)
    page = (site / f"{PAGES[source]}.html").read_text()
    body = page[page.index('role="main"') : page.index("<footer")]
    assert body.count("<table") == len(re.findall(r"^\|[-|: ]+\|$", text, re.M))
    assert body.count("<li>") == len(re.findall(r"^ *(?:[*-]|\d+\.) ", text, re.M))
    for target in re.findall(r'(?:href|src)="([^"#:]+)["#]', body):
        assert (site / target).is_file(), target


def test_nothing_is_fetched_from_elsewhere(site):
    for path in [*site.glob("*.html"), *site.glob("css/*.css")]:
        text = path.read_text()
        fetched = re.findall(r'<(?:script|link|img)[^>]*(?:src|href)="((?:https?:)?//[^"]*)', text)
        assert fetched + re.findall(r"url\(['\"]?((?:https?:)?//[^)]*)", text) == [], path.name


def test_a_link_that_leads_nowhere_is_an_error(tmp_path):
    """To a heading, to a file of the code, and a page that the nav lacks."""
    shutil.copytree(ROOT / "docs", tmp_path / "docs")
    for name in ("mkdocs.yml", *HOME):
        shutil.copy(ROOT / name, tmp_path)
    (tmp_path / "docs/new.md").write_text("# New\n[a](data.md#none) [b](../common/none.py)\n")
    done = build(tmp_path / "mkdocs.yml", tmp_path / "site")
    assert done.returncode == 1
    assert "contains a link 'data.md#none'" in done.stderr
    assert "contains a link 'common/none.py'" in done.stderr
    assert re.search(r"not included in the \"nav\" configuration:\n +- new\.md", done.stderr)
