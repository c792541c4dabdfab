"""The report in a real browser: two widths, light and dark, by keyboard."""

import pytest
from headless_browser import Browser
from page_checks import LOW_CONTRAST, OVERFLOW
from small_report import AS_OF, write_root

from contracts.paths import Places
from userbert.commands.report import named_subject, write_report

WIDTHS = (390, 1280)

# What a screen reader needs of each part.
UNNAMED = """[
  ...[...document.querySelectorAll("svg")].filter((e) => !e.querySelector("title")),
  ...[...document.querySelectorAll("a, summary")].filter((e) => !e.textContent.trim()),
  ...[...document.querySelectorAll("[tabindex]")].filter((e) => !e.getAttribute("aria-label")),
  ...[...document.querySelectorAll("th")].filter((e) => !e.getAttribute("scope")),
].map((e) => e.outerHTML.slice(0, 80))"""

FOCUS = "document.activeElement.textContent.trim().slice(0, 40)"


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    places = Places(tmp_path_factory.mktemp("report"))
    write_root(places)
    write_report(places, named_subject(places, "night"))
    return [places.reports / "night" / f"{AS_OF}.html", places.reports / "index.html"]


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with Browser(tmp_path_factory.mktemp("browser")) as browser:
        yield browser


def test_pages_are_readable_in_both_widths_and_schemes(pages, browser, tmp_path):
    for page in pages:
        for width in WIDTHS:
            for scheme in ("light", "dark"):
                browser.open(page, width, scheme)
                browser.value("document.querySelectorAll('details').forEach((d) => d.open = true)")
                assert browser.value(OVERFLOW) <= 0, (page, width, scheme)
                assert browser.value(LOW_CONTRAST) == [], (page, width, scheme)
                assert browser.value(UNNAMED) == []
                browser.screenshot(tmp_path / f"{page.stem}-{width}-{scheme}.png")
    assert browser.console == []
    assert {url.split(":")[0] for url in browser.requests} <= {"file", "data"}


def test_a_page_is_used_by_keyboard_alone(pages, browser):
    browser.open(pages[0], 1280, "light")
    browser.press("Tab")
    assert browser.value(FOCUS) == "To the content"
    browser.press("Enter")
    assert browser.value("location.hash") == "#main"
    browser.press("Tab")  # goes on behind the place that the link led to
    assert browser.value(FOCUS) == "The numbers"
    assert browser.value("document.activeElement.parentElement.open") is False
    browser.press("Enter")
    assert browser.value("document.activeElement.parentElement.open") is True
    outline = "getComputedStyle(document.activeElement).outlineStyle"
    assert browser.value(outline) == "solid"
