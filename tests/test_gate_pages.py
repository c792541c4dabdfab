"""The pages of the gates: what they say, and that they are read in a real browser, offline."""

from datetime import datetime, timedelta

import pytest
from headless_browser import Browser
from test_report_page import LOW_CONTRAST, OVERFLOW, UNNAMED, WIDTHS

from contracts.paths import Places
from contracts.tables import BROWSING_LOGS, TABLES
from expectations.data_docs import bound_text, page_path, rewrite_pages, write_pages
from expectations.day_history import DAY_PREFIX
from expectations.days.bounds import DAY_MEASURES
from expectations.failure_message import advice_name, gate_advice
from expectations.results import Finding, GateResult, save_result
from expectations.suites import Expected, suite_expectations
from userbert.reference.catalog import catalog_html

NASTY = "<script>alert(1)</script> <img src='https://example.com/x.png'> & ü"
NIGHT = datetime(2026, 3, 2)
JOB_MEASURES = {
    "lines_in": 90,
    "accepted": 9,
    "refused": 81,
    "duplicates": 0,
    "future_share": 0.0,
    "title_words": 5.0,
    "title_sequences": 1.0,
    "users_without_vector": 0,
}


def gate(ago, refused, passed=True):
    """The result of a night, `ago` days before the last one."""
    rows = [] if passed else [{"title": NASTY}]
    share = Finding(
        "refused_share", "few lines are refused", passed, refused, None, 0.2, True, rows
    )
    keys = Finding("duplicate_keys", "no two rows share (log_id)", True, 0.0, None, 0, False, [])
    night = NIGHT - timedelta(days=ago)
    line = "" if passed else f"gate browsing_logs failed: {NASTY}"
    measures = {"lines_in": 90.0, "refused: <b>odd</b>": 1.0}
    return GateResult(
        *("browsing_logs", f"{night.date()}", passed, line, 90, 1.5, night.isoformat(), "abc"),
        *(measures, [keys, share]),
    )


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    places = Places(tmp_path_factory.mktemp("gates"))
    for ago in (40, 27, *range(20, 1, -1)):
        save_result(places.gates, gate(ago, 0.01 * (ago % 4)))
    failed = gate(0, 0.6, passed=False)
    save_result(places.gates, failed)
    wanted = suite_expectations(BROWSING_LOGS, JOB_MEASURES)
    write_pages(places.gates, BROWSING_LOGS, wanted, failed)
    return places


def page(places, ago=0):
    return page_path(places.gates, "browsing_logs", str((NIGHT - timedelta(days=ago)).date()))


def test_a_page_says_what_holds_what_was_seen_what_is_allowed_and_what_mends_it(places):
    text = page(places).read_text()
    for part in (
        "browsing_logs of 2026-03-02: refused",
        "few lines are refused",
        "0.6 rows break it",
        "at most 0.2",
        "More than a fifth of the landing lines are broken",
        "<code>userbert landing check FILE</code>",
        "21 runs, 1 broken",  # the run of forty days ago is older than four weeks
        "Whom to call",
    ):
        assert part in text, part
    assert text.index("few lines are refused") < text.index("no two rows share")
    assert "<script" not in text
    assert "<b>odd" not in text
    suite = (places.gates / "docs/expectations/browsing_logs.html").read_text()
    assert "at most a fifth of the lines are refused" in suite


def test_pages_of_older_results_are_written_anew(places):
    page(places, 2).unlink(missing_ok=True)
    assert rewrite_pages(places.gates) == []
    assert "Everything holds of 90 rows" in page(places, 2).read_text()
    assert "2026-02-28.html" in (places.gates / "docs/index.html").read_text()


def test_the_pages_are_readable_offline_in_both_widths_and_schemes(places, tmp_path):
    docs = places.gates / "docs"
    catalog = tmp_path / "catalog.html"
    catalog.write_text(catalog_html())
    pages = [page(places), docs / "index.html", docs / "expectations/browsing_logs.html", catalog]
    with Browser(tmp_path / "browser") as browser:
        for path in pages:
            for width in WIDTHS:
                for scheme in ("light", "dark"):
                    browser.open(path, width, scheme)
                    assert browser.value(OVERFLOW) <= 0, (path, width)
                    assert browser.value(LOW_CONTRAST) == [], (path, scheme)
                    assert browser.value(UNNAMED) == []
                    browser.screenshot(tmp_path / f"{path.stem}-{width}-{scheme}.png")
        assert browser.console == []
        assert {url.split(":")[0] for url in browser.requests} == {"file"}


def test_bounds_are_said_in_words():
    bounds = [(None, 0), (1, None), (None, 0.2), (0.5, 2), (None, None)]
    said = [bound_text(Expected("m", "s", least=low, most=high)) for low, high in bounds]
    assert said == ["none", "at least 1", "at most 0.2", "0.5 to 2", "any value"]


def test_every_expectation_has_advice_and_no_advice_is_of_none():
    measures = [
        each.measure for table in TABLES for each in suite_expectations(table, JOB_MEASURES)
    ]
    measures += [f"{DAY_PREFIX}{bound.name}" for bound in DAY_MEASURES]
    assert {advice_name(measure) for measure in measures} == set(gate_advice())
