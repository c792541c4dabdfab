"""Reading a Delta table as Arrow without Spark, so that the process also ends well."""

from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from contracts.errors import BadInput
from contracts.storage.damage import check_delta_log, check_parquet_files
from contracts.storage.object_store import arrow_folder, delta_options, is_on_s3, reader_address

if TYPE_CHECKING:
    from deltalake import DeltaTable
    from pyarrow.dataset import Dataset


def open_delta_table(path: str, version: int | None = None) -> "DeltaTable | None":
    """The table at `path`, None where there is none; BadInput names a damaged file of its log.

    On an object store BadInput says why the store cannot be read.
    """
    is_local = "://" not in path
    # Where there is no table, delta-rs would make an empty folder of that name.
    if is_local and not (Path(path) / "_delta_log").is_dir():
        return None
    from deltalake import DeltaTable

    address, options = reader_address(path), delta_options(path)
    try:
        if not DeltaTable.is_deltatable(address, options):
            return None
        if is_local:
            check_delta_log(path)
        return DeltaTable(address, version=version, storage_options=options)
    except OSError as error:
        if is_local:
            raise
        reason = str(error).partition("\n")[0]
        raise BadInput(f"{path} cannot be read: {reason}. Look at the AWS_* variables") from None


def newest_partition_day(path: str, column: str) -> date | None:
    """The newest day that the table at `path` has a partition of; None without a table or rows."""
    opened = open_delta_table(path)
    parts = opened.partitions() if opened else []
    return max((date.fromisoformat(str(part[column])) for part in parts), default=None)


def arrow_dataset(
    table: "DeltaTable", path: str, parts: "list[tuple[str, str, Any]] | None" = None
) -> "Dataset":
    """The rows of `table`, opened at `path`; BadInput names a data file that is not whole.

    `parts` are conditions of delta-rs on partitions, such as ("as_of", "in", ["2017-06-30"]): of a
    table with a thousand partitions, a dataset of all takes 0.3 s to make.

    delta-rs hands Arrow a file system that is written in Python, and Arrow calls it from threads of
    its own. A thread that lets go of a file while Python ends aborts the process: "terminate called
    without an active exception", at 9 of 48 ends after reading three small tables. Arrow's own file
    systems need no Python: 0 of 50 on a disk. Stores other than S3 keep delta-rs's.
    """
    is_local = "://" not in path
    if not is_local and not is_on_s3(path):
        return table.to_pyarrow_dataset(partitions=parts)
    if is_local:
        check_parquet_files(f"{path}/{unquote(file)}" for file in table.files(parts))
    return table.to_pyarrow_dataset(partitions=parts, filesystem=arrow_folder(path))
