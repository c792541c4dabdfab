"""The Delta properties that every table of the lake is made with, and that maintenance keeps."""

from collections.abc import Mapping

from contracts.tables import LAYOUT_VERSION, Table

# How long a version can be read after the next one replaced it. VACUUM goes by time alone, so
# maintenance prolongs this where a model names an older version (spark_jobs/lake/retention.py).
KEEP_DAYS = 30
# A version is readable while the log reaches back to a checkpoint before it. A commit is some
# kilobytes, so the log may well outlast the files.
_LOG_OUTLASTS_FILES_BY_DAYS = 60
_CHECKPOINT_INTERVAL = 10  # commits; a reader opens at most so many files of the log
FILE_RETENTION = "delta.deletedFileRetentionDuration"
_LOG_RETENTION = "delta.logRetentionDuration"
# LAYOUT_VERSION of the code that made or evolved the table.
LAYOUT_PROPERTY = "userbert.layoutVersion"
_CONTRACT_PROPERTY = "userbert.contract"  # the fingerprint of the contract that it then had
UNRECORDED_LAYOUT = "1"  # of the tables from before this was recorded

# Types whose least and greatest value let a query skip files. Arrays have neither, and of titles,
# raw lines and JSON nobody asks for a range.
_RANGED_TYPES = ("bigint", "int", "date", "timestamp", "double")


def wanted_properties(table: Table, keep_days: int = KEEP_DAYS) -> dict[str, str]:
    """What a table is made with, when its replaced files are to stay `keep_days`."""
    return {
        # Readers other than Spark (DuckDB, delta-rs, Trino) see no deletion vectors, and with
        # them a deleted row stays on disk after VACUUM.
        "delta.enableDeletionVectors": "false",
        "delta.enableChangeDataFeed": str(table.change_feed).lower(),
        "delta.checkpointInterval": str(_CHECKPOINT_INTERVAL),
        "delta.dataSkippingStatsColumns": ",".join(statistics_columns(table)),
        FILE_RETENTION: _interval(keep_days),
        _LOG_RETENTION: _interval(keep_days + _LOG_OUTLASTS_FILES_BY_DAYS),
    }


def check_properties(table: Table) -> dict[str, str]:
    """The contract's CHECKs, as Delta keeps them."""
    return {f"delta.constraints.{name}": condition for name, condition in table.checks}


def layout_properties(table: Table) -> dict[str, str]:
    """By which contract the table stands; see spark_jobs/lake/schema_evolution.py."""
    return {LAYOUT_PROPERTY: str(LAYOUT_VERSION), _CONTRACT_PROPERTY: table.fingerprint}


def retention_of(held: Mapping[str, str]) -> dict[str, str]:
    """How long a table keeps replaced files and log, out of the properties that it has."""
    return {key: held[key] for key in (FILE_RETENTION, _LOG_RETENTION) if key in held}


def retention_days(held: Mapping[str, str]) -> int:
    """How many days the table keeps replaced files; 0 where it does not say so in days."""
    words = held.get(FILE_RETENTION, "").split()
    return int(words[1]) if words[:1] == ["interval"] and words[2:] == ["days"] else 0


def statistics_columns(table: Table) -> list[str]:
    """The columns by whose bounds files are skipped: the key's, and the ranged ones.

    Not those of the partition, which skip folders already.
    """
    return [
        column.name
        for column in table.columns
        if column.name not in table.partition_by
        and (column.name in table.key or column.type in _RANGED_TYPES)
    ]


def _interval(days: int) -> str:
    return f"interval {days} days"
