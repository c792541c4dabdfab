"""Each measure of a landing day, and what a day must be like to be stopped by it."""

import re
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import pytest

from contracts.errors import BadInput
from expectations.day_history import day_bounds, day_expectations, load_days, save_days
from expectations.days.bounds import DAY_MEASURES, PUBLICATION_MEASURES, SEQUENCE_MEASURES
from expectations.days.comparison import judge_day
from expectations.days.measures import DayFacts, empty_day

TODAY = date(2026, 3, 30)  # a Monday
CLOCK = (2, 1, 1, 1, 1, 2, 4, 8, 12, 12, 10, 10, 12, 11, 9, 9, 10, 12, 14, 14, 12, 8, 5, 3)
NUMBERS = {
    "views": 200.0,
    "people_views": 180.0,
    "users": 40.0,
    "titles": 150.0,
    "largest_user_share": 0.1,
    "largest_title_share": 0.03,
    "known_user_share": 0.9,
    "known_title_share": 0.8,
    "known_host_share": 1.0,
    "known_word_share": 0.98,
    "known_pair_share": 0.2,
    "crowded_share": 0.01,
    "again_share": 0.1,
    "views_a_session": 4.0,
    "whole_minute_share": 0.02,
    **dict.fromkeys(
        (
            *("repeated_share", "resent_share", "placeholder_share", "blank_in_id_share"),
            *("error_page_share", "markup_share", "private_share", "host_private_share"),
            *("domain_title_share", "odd_host_share", "no_host_share", "old_share"),
            *("earlier_day_share", "whole_hour_share", "twin_share", "even_gap_share"),
            *("lost_host_share", "broken_text_share"),
        ),
        0.0,
    ),
}


def day(n=0, clock=(*CLOCK, *(0,) * 12), early_by=0, alphabets=None, scripts=None, **numbers):
    """A usual day, `n` days before today, with other `numbers`."""
    return DayFacts(
        TODAY - timedelta(days=n),
        NUMBERS | numbers,
        tuple(map(float, (*(0,) * 24, *clock, *(0,) * 24)[early_by : early_by + 72])),
        alphabets or {"a 9 ": 1.0},
        scripts or {"latin": 1.0},
    )


def weeks(num_days=28, **numbers):
    return {facts.day: facts for facts in (day(n, **numbers) for n in range(1, num_days + 1))}


def broken(facts, earlier=None):
    judged = judge_day(facts, weeks() if earlier is None else earlier)
    return {each.bound.name for each in judged if not each.is_within}


KNOWN = {"known_users", "known_titles", "known_hosts", "known_words", "known_pairs"}
# For each measure a day that only its bound, or the few that are named, can see; beyond it by so
# little that a bound twice as far away would let it through (tests/faults/removed_gates.py).
WRONG_DAYS = {
    "views": (day(views=60.0), {"volume", *KNOWN}),
    "users": (day(users=12.0), {"views_a_user"}),
    "titles": (day(titles=30.0), set()),
    "views_a_user": (day(users=9.0), {"users"}),
    "resent_share": (day(resent_share=0.3), set()),
    "repeated_share": (day(repeated_share=0.15), set()),
    "crowded_share": (day(crowded_share=0.45), set()),
    "busiest_user": (day(views=2_500.0, largest_user_share=0.92), {"largest_user_share"}),
    "largest_user_share": (day(views=380.0, largest_user_share=0.53), set()),
    "largest_title_share": (day(largest_title_share=0.9), set()),
    "known_users": (day(known_user_share=0.45), set()),
    "known_titles": (day(known_title_share=0.2), set()),
    "known_hosts": (day(known_host_share=0.5), set()),
    "strange_id_share": (day(alphabets={"a 9 ": 0.85, "A 9 ": 0.15}), set()),
    "placeholder_share": (day(placeholder_share=0.08), set()),
    "blank_in_id_share": (day(blank_in_id_share=0.15), set()),
    "error_page_share": (day(error_page_share=0.15), set()),
    "markup_share": (day(markup_share=0.045), set()),
    "private_share": (day(private_share=0.03), set()),
    "host_private_share": (day(host_private_share=0.015), set()),
    "domain_title_share": (day(domain_title_share=0.22), set()),
    "odd_host_share": (day(odd_host_share=0.08), set()),
    "no_host_share": (day(no_host_share=0.45), set()),
    "script_distance": (day(scripts={"latin": 0.7, "greek": 0.3}), set()),
    "old_share": (day(old_share=0.15), set()),
    "earlier_day_share": (day(earlier_day_share=0.18), set()),
    "whole_hour_share": (day(whole_hour_share=0.15), set()),
    "hours_off": (day(early_by=3), {"silent_share"}),
    "volume": (day(views=100.0, known_user_share=1.0), set()),
    "views_a_session": (day(views_a_session=16.0), set()),
    "again_share": (day(again_share=0.6), set()),
    "twin_share": (day(twin_share=0.15), set()),
    "even_gap_share": (day(even_gap_share=0.15), set()),
    "known_words": (day(known_word_share=0.7), set()),
    "known_pairs": (day(known_pair_share=0.05), set()),
    "known_pair_share": (day(known_pair_share=0.9), set()),
    "lost_host_share": (day(lost_host_share=0.12), set()),
    "broken_text_share": (day(broken_text_share=0.045), set()),
    "whole_minute_share": (day(whole_minute_share=0.3), set()),
    "silent_share": (day(clock=(*CLOCK[:21], 0, *CLOCK[22:], *(0,) * 12)), set()),
}
# The other ends of bounds that have two.
OTHER_ENDS = {
    "views": (day(views=900.0), {"volume", "views_a_user"}),
    "users": (day(users=170.0), {"views_a_user"}),
    "volume": (day(views=420.0), set()),
    "titles": (day(titles=900.0), set()),
    "views_a_user": (day(users=158.0), set()),
    "views_a_session": (day(views_a_session=1.2), set()),
}


def test_every_measure_has_a_day_that_it_stops():
    assert set(WRONG_DAYS) == {bound.name for bound in DAY_MEASURES}
    two_ends = {bound.name for bound in DAY_MEASURES if None not in (bound.low, bound.high)}
    assert set(OTHER_ENDS) == two_ends


def test_the_page_says_what_each_bound_costs():
    page = (Path(__file__).parents[1] / "docs" / "day-gates.md").read_text()
    assert re.findall(r"^\| `(\w+)`", page, re.M) == [
        bound.name for bound in (*DAY_MEASURES, *SEQUENCE_MEASURES, *PUBLICATION_MEASURES)
    ]


@pytest.mark.parametrize(
    ("name", "case"), [*WRONG_DAYS.items(), *OTHER_ENDS.items()], ids=lambda of: str(of)[:30]
)
def test_a_day_is_stopped_by_the_measure_of_what_is_wrong_with_it(name, case):
    facts, others = case
    judged = {each.bound.name: each for each in judge_day(facts, weeks())}
    assert {each.bound.name for each in judged.values() if not each.is_within} <= {name, *others}
    assert 1 < judged[name].excess <= 2  # within a bound that is twice as far away


def test_usual_days_pass_and_unusual_ones_warn():
    assert broken(day()) == set()
    holiday = {"views": 90.0, "people_views": 81.0, "users": 20.0, "titles": 70.0}
    assert broken(day(**holiday)) == {"volume"}
    # A marketing day: twice the views, of people who were never seen, on a page of its own.
    rush = {"views": 400.0, "people_views": 360.0, "users": 90.0, "largest_title_share": 0.5}
    assert broken(day(**rush, known_user_share=0.45, known_title_share=0.4)) == {"volume"}


def test_a_site_with_quiet_weekends_is_judged_by_its_weekdays():
    quiet = {"views": 60.0, "users": 14.0, "titles": 50.0}
    earlier = weeks()
    for n in range(1, 29):
        if (TODAY - timedelta(days=n)).weekday() >= 5:
            earlier[TODAY - timedelta(days=n)] = day(n, **quiet)
    sunday = replace(day(1, **quiet), day=TODAY - timedelta(days=1))
    assert broken(sunday, earlier) == set()
    assert "views" in broken(day(views=40.0, users=12.0), earlier)


def test_what_a_site_always_does_stops_none_of_its_days():
    """Times of whole hours, ids with blanks, one title for all."""
    habits = {"whole_hour_share": 1.0, "blank_in_id_share": 0.9, "largest_title_share": 0.8}
    assert broken(day(**habits), weeks(**habits)) == set()
    assert broken(day(**habits)) == {"whole_hour_share", "blank_in_id_share", "largest_title_share"}


def test_too_short_a_history_or_too_few_views_stop_nothing():
    wrong = day(views=10.0, users=1.0)
    assert broken(wrong, weeks(2)) == set()
    assert broken(wrong, weeks(views=30.0)) == set()
    assert "views" in broken(wrong, weeks(3))


def test_a_day_without_a_view_is_stopped_for_that_alone():
    assert broken(empty_day(TODAY)) == {"views"}


def test_an_expectation_is_of_the_day_that_is_furthest_off_and_says_how_to_accept_it():
    judged = [*judge_day(day(views=50.0), weeks()), *judge_day(day(1, views=30.0), weeks())]
    first, *_ = day_expectations(judged)
    assert (first.measure, first.from_job({}), round(first.least)) == ("day_views", 27.0, 63)
    assert first.says.startswith("landing day 2026-03-29: views of all users but the busiest")
    assert "`userbert gates accept 2026-03-29 --reason WHY`" in first.says


def test_facts_are_kept_and_measured_again_where_they_are_torn(places):
    facts = [day(1), day(2)]
    save_days(places, facts)
    first, last = TODAY, TODAY + timedelta(days=1)
    assert load_days(places, first, last) == {each.day: each for each in facts}
    path = places.gates / "days" / f"{facts[0].day}.json"
    for torn in ('{"day', "[]", "{}", path.read_text().replace('"version": 2', '"version": 0')):
        path.write_text(torn)
        assert list(load_days(places, first, last)) == [facts[1].day]


def test_an_installation_changes_bounds_by_a_file(places):
    places.landing.mkdir(parents=True)
    file = places.landing / "gates.toml"
    file.write_text('[views]\nlow = 0.1\n[markup_share]\nseverity = "off"\n[titles]\nhigh = 9\n')
    bounds = day_bounds(places)
    judged = {each.bound.name: each for each in judge_day(day(views=30.0), weeks(), bounds)}
    assert judged["views"].is_within
    assert "markup_share" not in judged
    for text, line in (
        ("[viewz]\nlow = 1", "viewz is no measure of a day; they are views, users"),
        ("[views]\nlow = true", "views.low is True; a number may stand as low or high"),
        ("[markup_share]\nlow = 0.1", "markup_share.low is 0.1; a number may stand as high"),
        ('[views]\nseverity = "loud"', "say hard, soft or off"),
        ("views = 3", r"views is 3; write a table \[views\]"),
        ("[views", "cannot be read"),
    ):
        file.write_text(text)
        with pytest.raises(BadInput, match=line):
            day_bounds(places)
