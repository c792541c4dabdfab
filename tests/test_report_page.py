"""The report in a real browser: two widths, light and dark, by keyboard."""

import pytest
from headless_browser import Browser
from small_report import AS_OF, write_root

from contracts.paths import Places
from userbert.commands.report import named_subject, write_report

WIDTHS = (390, 1280)

# Texts with less contrast than WCAG AA asks for: 4.5, and 3 for large ones.
LOW_CONTRAST = """(() => {
  const numbers = (color) => color.match(/[\\d.]+/g).map(Number);
  const light = (part) => (part /= 255) <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
  const luminance = ([r, g, b]) => 0.2126 * light(r) + 0.7152 * light(g) + 0.0722 * light(b);
  const ground = (element) => {
    for (let up = element; up; up = up.parentElement) {
      const color = numbers(getComputedStyle(up).backgroundColor);
      if (color.length === 3 || color[3] === 1) return color;
    }
    return [255, 255, 255];
  };
  const low = [];
  for (const element of document.body.querySelectorAll("*")) {
    const own = [...element.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim());
    const style = getComputedStyle(element);
    if (!own || element.closest("title, style") || !element.getClientRects().length) continue;
    const isText = element.namespaceURI.endsWith("svg");
    const ink = luminance(numbers(isText ? style.fill : style.color));
    const paper = luminance(ground(element));
    const ratio = (Math.max(ink, paper) + 0.05) / (Math.min(ink, paper) + 0.05);
    const isLarge = parseFloat(style.fontSize) >= 24;
    if (ratio < (isLarge ? 3 : 4.5)) low.push([element.textContent.slice(0, 40), ratio]);
  }
  return low;
})()"""

# What a screen reader needs of each part.
UNNAMED = """[
  ...[...document.querySelectorAll("svg")].filter((e) => !e.querySelector("title")),
  ...[...document.querySelectorAll("a, summary")].filter((e) => !e.textContent.trim()),
  ...[...document.querySelectorAll("[tabindex]")].filter((e) => !e.getAttribute("aria-label")),
  ...[...document.querySelectorAll("th")].filter((e) => !e.getAttribute("scope")),
].map((e) => e.outerHTML.slice(0, 80))"""

OVERFLOW = "document.scrollingElement.scrollWidth - document.documentElement.clientWidth"
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
