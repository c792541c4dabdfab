"""What the name of a column, or its values, say of it: a person, a time, a title, none of them."""

import re
from collections.abc import Mapping

from contracts.landing_settings import LINE_ID

# Names that logs give these columns, without blanks, hyphens and underscores; the surest first.
KNOWN_NAMES: dict[str, tuple[str, ...]] = {
    "user_id": (
        *("userid", "user", "visitorid", "visitor", "anonymousid", "customerid", "customer"),
        *("clientid", "memberid", "accountid", "householdid", "household", "personid", "uid"),
        *("userpseudoid", "distinctid", "fullvisitorid", "cookieid", "deviceid", "sessionid"),
    ),
    "event_time": (
        *("eventtime", "timestamp", "time", "datetime", "eventtimestamp", "at", "ts", "viewedat"),
        *("createdat", "occurredat", "receivedat", "originaltimestamp", "date", "when", "day"),
    ),
    "title": (
        *("title", "pagetitle", "headline", "producttitle", "productname", "itemname", "itemtitle"),
        *("name", "product", "item", "page", "query", "description", "subject"),
    ),
    "host": ("host", "hostname", "domain", "site", "website"),
    LINE_ID: ("logid", "eventid", "requestid", "messageid", "hitid", "insertid"),
}
# A word of each in one name is a user's id: visitor_guid, cust-no, Kunden-Nr.
_PERSONS = {
    *("user", "visitor", "customer", "cust", "client", "member", "account", "household", "person"),
    *("subscriber", "buyer", "reader", "viewer", "guest", "kunde", "kunden", "nutzer", "besucher"),
    *("cliente", "usuario", "utilisateur"),
}
_IDS = {"id", "uid", "guid", "uuid", "key", "no", "nr", "num", "number", "hash", "code"}
_LONGEST_ID = 64  # characters
_FEWEST_USERS = 3  # in the lines that are looked at; fewer values are a kind, or a country
_SURELY_MORE = 3  # times as many distinct values as any other column
_TITLE_WORDS = (1.5, 20.0)  # in the mean; fewer are a code, more are a text


def name_place(ours: str, theirs: str) -> int | None:
    """How sure the name `theirs` is for our column, the smaller the surer; None: not at all.

    The last step of a path counts, or the last two, `user.id`; a deeper path is less sure.
    """
    known, words = KNOWN_NAMES[ours], _words_of(theirs)
    if ours == "title" and words & _PERSONS:
        return None  # user.name
    *above, last = theirs.split(".")
    for depth, steps in ((len(above), [last]), (max(0, len(above) - 1), [*above[-1:], last])):
        name = re.sub(r"[\s_-]", "", "".join(steps)).lower()
        if name in known:
            return known.index(name) + len(known) * depth
    if ours == "user_id" and words & _PERSONS and words & _IDS:
        return len(known) * (len(above) + 1)
    return None


def _words_of(name: str) -> set[str]:
    """`visitorGuid`, `visitor_guid` and `visitor.guid` have the same words."""
    apart = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)
    return set(re.split(r"[\W_]+", apart.lower()))


def title_of_values(columns: Mapping[str, list[str]]) -> str | None:
    """The column with the most words a value, unless these are texts or addresses."""
    words = {name: _mean_words(values) for name, values in columns.items() if _varies(values)}
    least, most = _TITLE_WORDS
    fitting = {name: mean for name, mean in words.items() if least <= mean <= most}
    return max(fitting, key=lambda name: fitting[name]) if fitting else None


def user_of_values(columns: Mapping[str, list[str]]) -> str | None:
    """The column whose short values repeat and are by far the most; None where two could be it."""
    counts = {name: len(set(values)) for name, values in columns.items() if _are_ids(values)}
    best = max(counts, key=lambda name: counts[name], default=None)
    if best is None or counts[best] < _FEWEST_USERS:
        return None
    rivals = [count for name, count in counts.items() if name != best]
    return best if all(counts[best] >= _SURELY_MORE * count for count in rivals) else None


def _mean_words(values: list[str]) -> float:
    if any("://" in value for value in values):
        return 0.0
    return sum(len(value.split()) for value in values) / len(values)


def _varies(values: list[str]) -> bool:
    return len(set(values)) > 1


def _are_ids(values: list[str]) -> bool:
    """Tokens, of which some are there more than once, as a user's are."""
    if not values or len(set(values)) == len(values):
        return False
    return not any(
        len(value) > _LONGEST_ID or "/" in value or len(value.split()) > 1 for value in values
    )
