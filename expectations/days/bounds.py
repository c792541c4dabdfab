"""The measures of a landing day, and how far each may lie from its usual level.

docs/day-gates.md says what each bound lets through, and what it may stop wrongly.
"""

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Bound:
    """One measure of a day: how far from the usual level it may lie, and what is wrong if not.

    A `ratio` may be `low` to `high` times the usual level, and never less than `floor` or more than
    `ceiling` times it, however much it varied. A `share` may be `high` above it, or `low` times it.
    """

    name: str
    means: str  # what the number is
    advice: str  # what is wrong with a day beyond the bound
    low: float | None = None
    high: float | None = None
    is_ratio: bool = False
    counts: str = ""  # whose number chance depends on, where the measure is no number itself
    floor: float = 0.0
    ceiling: float = math.inf
    is_hard: bool = True  # a soft one warns, and stops nothing
    is_off: bool = False


DAY_MEASURES = (
    Bound(
        "views", "views of all users but the busiest", "lines are missing, or came more than once",
        low=0.35, high=4, is_ratio=True, floor=0.25, ceiling=8,
    ),
    Bound(
        "users", "users", "users are missing, or each visit has an id of its own",
        low=0.35, high=4, is_ratio=True, floor=0.25, ceiling=8,
    ),
    Bound(
        "volume", "views of all users but the busiest, once more",
        "lines are missing, or came more than once; the day is written", low=0.6, high=1.8,
        is_ratio=True, floor=0.4, ceiling=2.5, is_hard=False,
    ),
    Bound(
        "titles", "distinct titles", "titles have lost a part, or gained one",
        low=0.25, high=5, is_ratio=True, floor=0.12, ceiling=8,
    ),
    Bound(
        "views_a_user", "views of a user on average, the busiest left out",
        "many users share an id, or the users of the day are others", low=0.3, high=3.5,
        is_ratio=True, counts="users", floor=0.2, ceiling=8,
    ),
    Bound(
        "views_a_session", "views of a session on average",
        "times are wrong, or views of other kinds were added", low=0.35, high=3, is_ratio=True,
        counts="users", floor=0.2, ceiling=6,
    ),
    Bound(
        "resent_share", "share of lines that landed before, on another day",
        "an earlier day's file was sent again", high=0.2,
    ),
    Bound(
        "repeated_share", "share of views that an earlier day has at the same time of day",
        "an earlier day's lines were sent under another date", high=0.1,
    ),
    Bound(
        "crowded_share", "share of views that repeat one of their user and title within a minute",
        "views are written more than once, moments apart", high=0.25,
    ),
    Bound(
        "again_share", "share of views that repeat one of their user and title on this day",
        "views are written more than once, minutes or hours apart", high=0.25,
    ),
    Bound(
        "twin_share", "share of views whose title another user has at the same instant",
        "one user's views were copied to others", high=0.1,
    ),
    Bound(
        "even_gap_share", "share of views after two equal silences of their user",
        "programs view the pages, or times were made up", high=0.1,
    ),
    Bound(
        "busiest_user", "views of the busiest user, in whole usual days of all users",
        "a crawler was let in", high=9.0,
    ),
    Bound(
        "largest_user_share", "share of views of the busiest user",
        "a crawler may have been let in", high=0.35, is_hard=False,
    ),
    Bound(
        "largest_title_share", "share of views of the commonest title",
        "one title stands where others should", high=0.55,
    ),
    Bound(
        "known_users", "views of users of the last four weeks, compared with usual days",
        "ids have another form: a prefix, capitals, another system", low=0.65, floor=0.4,
    ),
    Bound(
        "known_titles", "views of titles of the last four weeks, compared with usual days",
        "titles have another form, or another column's values", low=0.5, floor=0.3,
    ),
    Bound(
        "known_words", "words of titles of the last four weeks, compared with usual days",
        "titles are of another language or encoding, or another column's values", low=0.8,
        floor=0.65,
    ),
    Bound(
        "known_pairs", "views of titles that their user knows, compared with usual days",
        "ids are exchanged among users, or one user's views were copied to others", low=0.35,
        floor=0.15,
    ),
    Bound(
        "known_pair_share", "share of views of titles that their user knows from the last weeks",
        "an earlier day's lines were sent at other times", high=0.4,
    ),
    Bound(
        "known_hosts", "views of hosts of the last four weeks, compared with usual days",
        "hosts have another form, or another column's values", low=0.65, floor=0.4,
    ),
    Bound(
        "lost_host_share", "usual share of views of the hosts that have none today",
        "a server or a part of the site sent nothing", high=0.08,
    ),
    Bound(
        "strange_id_share", "share of views whose ids are of other characters than before",
        "ids have another form, or another column's values", high=0.1,
    ),
    Bound(
        "placeholder_share", "share of views of ids such as null, undefined or NaN",
        "the logs have lost their ids; `nobody` in the landing settings refuses such lines",
        high=0.05,
    ),
    Bound(
        "blank_in_id_share", "share of views whose id holds a blank",
        "the column of ids holds another column's values", high=0.1,
    ),
    Bound(
        "error_page_share", "share of views of error pages", "the site failed, or what reads it",
        high=0.1,
    ),
    Bound(
        "markup_share", "share of views whose title holds markup", "titles were not cleaned",
        high=0.03,
    ),
    Bound(
        "broken_text_share", "share of views whose title has lost its letters",
        "titles were read in a wrong encoding", high=0.03,
    ),
    Bound(
        "private_share", "share of views whose title holds an e-mail address or a password",
        "something private is logged as a title", high=0.02,
    ),
    Bound(
        "host_private_share", "share of views whose host holds an e-mail address or a password",
        "something private is logged as a host", high=0.01,
    ),
    Bound(
        "domain_title_share", "share of views whose title is an address",
        "titles and hosts are exchanged", high=0.15,
    ),
    Bound(
        "odd_host_share", "share of views whose host is no address",
        "the column of hosts holds another column's values", high=0.05,
    ),
    Bound(
        "no_host_share", "share of views without a host", "the column of hosts is empty", high=0.3,
    ),
    Bound(
        "script_distance", "share of views whose titles are of another alphabet than usual",
        "titles are of another language, or were read in a wrong encoding", high=0.2,
    ),
    Bound(
        "old_share", "share of views of more than a week before their landing day",
        "old lines were sent, or clocks are wrong", high=0.1,
    ),
    Bound(
        "earlier_day_share", "share of views of a day before their landing day, UTC",
        "times are early, or an earlier day's lines came", high=0.12,
    ),
    Bound(
        "whole_hour_share", "share of times at a whole hour",
        "times have lost their minutes, or dates their times", high=0.1,
    ),
    Bound(
        "whole_minute_share", "share of times at a whole minute", "times have lost their seconds",
        high=0.15,
    ),
    Bound(
        "silent_share", "usual share of views of the longest silence",
        "hours are missing, or times are of another zone", high=0.03,
    ),
    Bound(
        "hours_off", "hours by which the day's clock differs from the usual one",
        "times are of another zone", high=1.5,
    ),
)  # fmt: skip

# Of later tables, as of a day; their numbers are kept with the gates' results.
SEQUENCE_MEASURES = (
    Bound(
        "views_a_sequence", "views of a sequence of the day's active users on average",
        "histories were lost, or users were joined", low=0.5, high=2.0, is_ratio=True, floor=0.35,
        ceiling=3,
    ),
)  # fmt: skip
PUBLICATION_MEASURES = (
    Bound(
        "usable_users", "users with a view in the window", "days of views were lost",
        low=0.7, is_ratio=True, floor=0.5,
    ),
    Bound(
        "vector_drift", "how far users moved since the last day, by how far users are apart",
        "the titles or sequences that the vectors are made of have changed", high=0.25,
    ),
    Bound(
        "neighbors_kept", "share of users' ten nearest that are the same as on the last day",
        "the titles or sequences that the vectors are made of have changed", low=0.5, floor=0.3,
    ),
)  # fmt: skip
