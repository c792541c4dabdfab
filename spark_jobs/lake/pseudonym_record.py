"""Under which keys a table's ids were stored, as a property of the table; and no mixing of two.

A property outlives the log that maintenance and forgetting cut off, and a snapshot copies it.
"""

from contracts.errors import BadInput
from contracts.settings.pseudonyms import Pseudonyms
from contracts.tables import BROWSING_LOGS, Table
from spark_jobs.lake.lake import Lake

PSEUDONYM_PROPERTY = "userbert.pseudonyms"  # columns, and fingerprints of the keys in order
_NONE = ""  # ids are stored as they were logged


def recorded_keys(lake: Lake, table: Table = BROWSING_LOGS) -> str:
    """The record that the table carries; empty where its ids are as they were logged."""
    return lake.log(table).metadata().properties.get(PSEUDONYM_PROPERTY, _NONE)


def must_be_stored_by(lake: Lake, pseudonyms: Pseudonyms | None) -> None:
    """Raise `BadInput` unless the lake holds ids by exactly these keys; a new lake records them."""
    wanted = pseudonyms.record if pseudonyms else _NONE
    if not lake.exists(BROWSING_LOGS):
        if not pseudonyms:
            return
        lake.create(BROWSING_LOGS)
    held = recorded_keys(lake)
    if held == wanted:
        return
    if pseudonyms and not held and lake.version(BROWSING_LOGS) == 0:  # it has only been created
        lake.set_properties(BROWSING_LOGS, {PSEUDONYM_PROPERTY: wanted})
        return
    raise BadInput(_difference(held, pseudonyms))


def _difference(held: str, pseudonyms: Pseudonyms | None) -> str:
    if not held:
        return (
            "the lake holds ids as they were logged, and landing/settings.toml asks for "
            "pseudonyms: ingest the landing days into a new data root (docs/privacy.md), or take "
            "[pseudonyms] out again"
        )
    if pseudonyms is None:
        return (
            f"the lake holds pseudonyms ({held}), and landing/settings.toml asks for none: "
            "name the key file in [pseudonyms]; nothing was written"
        )
    columns, _, keys = held.partition(":")
    if columns != pseudonyms.record.partition(":")[0]:
        return (
            f"the lake holds pseudonyms in {columns}, and landing/settings.toml asks for "
            f"{', '.join(pseudonyms.columns)}: name the same columns; nothing was written"
        )
    if pseudonyms.ring.since(keys):
        return (
            f"the lake holds pseudonyms of the keys {keys}, and the key file has newer keys, too: "
            "run `userbert pseudonyms rotate --to` with this key file; nothing was written"
        )
    return (
        f"the lake holds pseudonyms of the keys {keys}, and the key file is of "
        f"{pseudonyms.ring.fingerprint}: name the key file that the lake was written with; nothing "
        "was written"
    )
