"""The Delta properties that every table of the lake is made with, and that maintenance keeps."""

from contracts.tables import Table

# How long a version can be read after the next one replaced it. VACUUM goes by time alone, so
# maintenance prolongs this where a model names an older version (spark_jobs/lake/retention.py).
KEEP_DAYS = 30
# A version is readable while the log reaches back to a checkpoint before it. A commit is some
# kilobytes, so the log may well outlast the files.
LOG_OUTLASTS_FILES_BY = 60  # days
CHECKPOINT_INTERVAL = 10  # commits; a reader opens at most so many files of the log
FILES, LOG = "delta.deletedFileRetentionDuration", "delta.logRetentionDuration"

# Types whose least and greatest value let a query skip files. Arrays have neither, and of titles,
# raw lines and JSON nobody asks for a range.
RANGED = ("bigint", "int", "date", "timestamp", "double")


def properties(table: Table, keep_days: int = KEEP_DAYS) -> dict[str, str]:
    """What a table is made with, when its replaced files are to stay `keep_days`."""
    return {
        # Readers other than Spark (DuckDB, delta-rs, Trino) see no deletion vectors, and with
        # them a deleted row stays on disk after VACUUM.
        "delta.enableDeletionVectors": "false",
        "delta.enableChangeDataFeed": str(table.change_feed).lower(),
        "delta.checkpointInterval": str(CHECKPOINT_INTERVAL),
        "delta.dataSkippingStatsColumns": ",".join(statistics_columns(table)),
        FILES: days(keep_days),
        LOG: days(keep_days + LOG_OUTLASTS_FILES_BY),
    }


def statistics_columns(table: Table) -> list[str]:
    """The columns by whose bounds files are skipped: the key's, and the ranged ones.

    Not those of the partition, which skip folders already.
    """
    return [
        column.name
        for column in table.columns
        if column.name not in table.partition_by
        and (column.name in table.key or column.type in RANGED)
    ]


def days(number: int) -> str:
    return f"interval {number} days"
