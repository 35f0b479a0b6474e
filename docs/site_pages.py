"""What the site has beside the pages of docs/: the readme as its home, and files linked to.

Links are written for GitHub, where a page leads to README.md or to a file of the code. On the site
they lead to the page that was made of it, or to a copy of the file. MkDocs calls the two functions.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]
PAGES = {
    "README.md": "index.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
}
_LINK = re.compile(r"(?<=\]\()[^()#:\s]+")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the pages that are not in docs/, and the other files that any page leads to."""
    for source, page in PAGES.items():
        files.append(File.generated(config, page, content=(ROOT / source).read_text("utf-8")))
    for file in list(files.documentation_pages()):
        for target in _LINK.findall(file.content_string):
            path = _in_repository(target, file.src_uri)
            there = files.get_file_from_path(_on_site(path))
            if there is None and (ROOT / path).is_file():
                files.append(File.generated(config, path, abs_src_path=str(ROOT / path)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turns the links of a page: from the places in the repository to those on the site."""
    source = page.file.src_uri
    return _LINK.sub(lambda link: _on_site(_in_repository(link[0], source)), markdown)


def _in_repository(target: str, page: str) -> str:
    """The path, from the root, that a page's link leads to. All pages lie at the site's top."""
    folder = "" if page in PAGES.values() else "docs"
    return posixpath.normpath(posixpath.join(folder, target))


def _on_site(path: str) -> str:
    return PAGES.get(path, path.removeprefix("docs/"))
