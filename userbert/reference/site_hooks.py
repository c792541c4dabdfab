"""What `make docs` adds to the pages of docs/: references made of the code, links that fit a site.

MkDocs calls these functions by their names (mkdocs.yml).
"""

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

from userbert.reference.__main__ import GENERATED_PAGES
from userbert.reference.catalog import catalog_html, catalog_markdown
from userbert.reference.command_pages import commands_page
from userbert.reference.settings_pages import settings_page

_PAGES = {
    "reference/tables.md": catalog_markdown,
    "reference/commands.md": commands_page,
    "reference/settings.md": settings_page,
    "reference/catalog.html": catalog_html,
}
# A browser lets no page that it opened from a disk start the worker that searches.
_SEARCH_NOTE = "assets/search-note.js"
_SEARCH_NOTE_SCRIPT = """if (location.protocol === "file:") {
  document.addEventListener("DOMContentLoaded", function () {
    const field = document.querySelector(".md-search__input");
    field.disabled = true;
    field.placeholder = "Search works when served (make docs)";
  });
}
"""
# A link to a file of the repository that is no page of the site.
_OUTSIDE = re.compile(r"\[([^\]]+)\]\((?:\.\./)+(?!docs/)[^)]*\)")


def on_config(config: Any) -> Any:
    """Add the guides that mkdocs.yml does not name, so that none is without a way to it, and what
    the search says where it cannot work."""
    config.extra_javascript.append(_SEARCH_NOTE)
    named = str(config.nav)
    more = sorted(path.name for path in Path(config.docs_dir).glob("*.md"))
    more = [name for name in more if f"'{name}'" not in named]
    if more:
        config.nav.append({"More": more})
    return config


def on_files(files: Files, config: Any) -> Files:
    """Add the pages that are made of the code."""
    files.append(File.generated(config, _SEARCH_NOTE, content=_SEARCH_NOTE_SCRIPT))
    for name, page in _PAGES.items():
        files.append(File.generated(config, name, content=page()))
    return files


def on_page_markdown(markdown: str, page: Any, **_: object) -> str:
    """Leave the words of links that lead out of docs/: the site has no such page."""
    if page.file.src_uri.startswith(("reference/", "adr/", "results/")):
        return markdown
    if page.file.src_uri in GENERATED_PAGES:
        markdown = GENERATED_PAGES[page.file.src_uri]()  # of the lists as they are now
    return _OUTSIDE.sub(r"\1", markdown)
