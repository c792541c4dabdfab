"""What `make docs` adds to the pages of docs/: references made of the code, links that fit a site.

MkDocs calls these functions by their names (mkdocs.yml).
"""

import re
from typing import Any

from mkdocs.structure.files import File, Files

from userbert.reference.catalog import catalog_html, catalog_markdown
from userbert.reference.command_pages import commands_page
from userbert.reference.settings_pages import settings_page

_PAGES = {
    "reference/tables.md": catalog_markdown,
    "reference/commands.md": commands_page,
    "reference/settings.md": settings_page,
    "reference/catalog.html": catalog_html,
}
# A link to a file of the repository that is no page of the site.
_OUTSIDE = re.compile(r"\[([^\]]+)\]\((?:\.\./)+(?!docs/)[^)]*\)")


def on_files(files: Files, config: Any) -> Files:
    """Add the pages that are made of the code."""
    for name, page in _PAGES.items():
        files.append(File.generated(config, name, content=page()))
    return files


def on_page_markdown(markdown: str, page: Any, **_: object) -> str:
    """Leave the words of links that lead out of docs/: the site has no such page."""
    if page.file.src_uri.startswith(("reference/", "adr/", "results/")):
        return markdown
    return _OUTSIDE.sub(r"\1", markdown)
