"""The one message of a failure: what, where, the last good day, the next step, and the links."""

import os
import re
from datetime import date

from contracts.errors import UserbertError
from contracts.paths import Places
from contracts.storage.delta_reading import newest_partition_day
from contracts.tables import PUBLISHED_EMBEDDINGS
from contracts.terminal.error_codes import UNFORESEEN_ERROR, error_codes

_CODE = re.compile(r"\bUB-\d{3}\b")
# Where the guides are read: the address of the site that `make docs` builds, or a folder.
_GUIDES_VARIABLE = "USERBERT_GUIDES"


def failure_message(error: str, where: str, links: dict[str, str]) -> str:
    """`error` first, as the command said it; then what a person at night needs next."""
    found = _CODE.search(error)
    code = found[0] if found and found[0] in error_codes() else UNFORESEEN_ERROR
    entry = error_codes()[code]
    lines = {
        "where": where,
        "last good day": last_good_day(),
        "next step": entry.mend,
        "whom to call": entry.call,
        **links,
        "runbook": f"{_guide('runbook')}, {_guide('troubleshooting')}#{code.lower()}",
    }
    return "\n".join([error, *(f"{name}: {text}" for name, text in lines.items() if text)])


def last_good_day() -> str:
    """Which day readers have, in a sentence; a lake that cannot be read is said to be so."""
    places = Places.from_environment()
    try:
        newest = newest_partition_day(f"{places.lake}/{PUBLISHED_EMBEDDINGS.name}", "as_of")
    except (UserbertError, OSError, ValueError) as error:
        return f"unknown, since the lake cannot be read ({error})"
    return _said(newest)


def _said(newest: date | None) -> str:
    return f"{newest} is published, and readers keep it" if newest else "nothing is published yet"


def _guide(name: str) -> str:
    """The address of a guide: of the site, or of the file in the repository."""
    guides = os.environ.get(_GUIDES_VARIABLE, "docs").rstrip("/")
    return f"{guides}/{name}.html" if "://" in guides else f"{guides}/{name}.md"
