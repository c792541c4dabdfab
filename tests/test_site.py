"""The site of the guides: built strictly, complete, and without a network."""

import re
import shlex
import subprocess
from pathlib import Path

import pytest
import yaml
from headless_browser import Browser
from mkdocs.commands.build import build
from mkdocs.config import load_config
from test_guides import parse

from contracts.tables import TABLE_SOURCES, TABLES
from userbert.reference.catalog import catalog_html, catalog_markdown
from userbert.reference.settings_pages import ENVIRONMENT_VARIABLES, settings_page

ROOT = Path(__file__).parents[1]
# What a browser would load by itself. Links that a reader follows may lead anywhere.
LOADED = re.compile(
    r"""(?:<script[^>]*\bsrc|<link[^>]*\bhref|<img[^>]*\bsrc)=["']?(?:https?:)?//"""
)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    config = load_config(str(ROOT / "mkdocs.yml"), strict=True, site_dir=str(folder))
    build(config)  # raises where there is a warning
    return folder


def test_the_site_is_built_without_a_warning_and_loads_nothing(site):
    pages = list(site.rglob("*.html"))
    assert len(pages) > 50
    loading = [page.name for page in pages if LOADED.search(page.read_text())]
    assert loading == []
    styles = [path.read_text() for path in site.rglob("*.css")]
    assert [text[:40] for text in styles if re.search(r"url\(['\"]?(?:https?:)?//", text)] == []


def test_pages_open_from_a_disk_and_the_search_says_that_it_needs_a_server(site, tmp_path):
    with Browser(tmp_path / "browser") as browser:
        browser.open(site / "index.html", 1280, "light")
        field = "document.querySelector('.md-search__input')"
        browser.wait_for(f"{field}.disabled && {field}.placeholder.includes('make docs')")
        assert browser.console == []
        assert {url.split(":")[0] for url in browser.requests} <= {"file", "data"}


def test_every_guide_is_in_the_navigation(site):
    first = (site / "index.html").read_text()
    guides = {path.stem for path in (ROOT / "docs").glob("*.md")}
    assert [name for name in sorted(guides) if f'href="{name}.html"' not in first] == []
    assert yaml.safe_load((ROOT / "mkdocs.yml").read_text())["theme"]["font"] is False


def test_the_references_name_every_command_table_and_setting(site):
    from userbert.cli import COMMANDS

    commands = (site / "reference/commands.html").read_text()
    assert [name for name in COMMANDS if f"userbert {name}" not in commands] == []
    for page in (catalog_html(), catalog_markdown()):
        names = [table.name for table in TABLES]
        names += [column.name for table in TABLES for column in table.columns]
        assert [name for name in names if name not in page] == []
    settings = settings_page()
    for name in ("complete_when", "window_days", "launcher", "damaged_files", "views_a_user"):
        assert f"| {name} |" in settings


@pytest.mark.parametrize("guide", ["first-run", "your-logs", "schedule", "upgrade"])
def test_each_command_of_a_first_guide_is_whole(guide):
    """Also those inside of numbered steps, which tests/test_guides.py does not see."""
    text = (ROOT / f"docs/{guide}.md").read_text()
    lines = re.findall(r"^ +userbert (\w.+)$", text, re.MULTILINE)
    assert lines
    for line in lines:
        words = shlex.split(line, comments=True)
        parse([*words] if words[0] != "init" else ["init", "file.csv"])


def test_lineage_names_every_table_and_only_tables():
    names = [table.name for table in TABLES]
    assert list(TABLE_SOURCES) == names
    sources = {source for each in TABLE_SOURCES.values() for source in each}
    assert sources - set(names) == {"landing files"}


def test_every_variable_of_the_environment_that_the_code_reads_is_explained():
    found = ["git", "-c", "safe.directory=*", "grep", "-hoE", "[\"']USERBERT_[A-Z_]+"]
    paths = ["*.py", "*.toml", "*.conf", ":!tests", ":!benchmarks"]
    done = subprocess.run([*found, "--", *paths], cwd=ROOT, capture_output=True, text=True)
    read = {line[1:] for line in done.stdout.splitlines()}
    assert {"USERBERT_DATA", "USERBERT_TRAINING"} < read
    assert read - set(ENVIRONMENT_VARIABLES) == set()
