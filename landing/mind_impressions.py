"""The impressions of a MIND data set: a row for each news that was shown, clicked or not.

impressions/mind.parquet below the data root has the form that `userbert experiment` reads. Of
MIND's test set, which does not say what was clicked, `clicked` is null. News without a title are
left out and counted, and so are lines that cannot be read, which `userbert logs mind` lands whole.
MIND's histories have no times; where they are landed, with times of ours, the file says so.
"""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from contracts.provenance import VIEW_TIMES_MADE_UP
from contracts.storage.atomic_write import atomic_file
from landing.mind import has_labels, parse_impression, read_lines, read_news

_ROWS_PER_BATCH = 500_000
_COLUMNS: dict[str, pa.DataType] = {
    "impression_id": pa.string(),
    "user_id": pa.string(),
    "event_time": pa.timestamp("s", "UTC"),
    "title": pa.string(),
    "clicked": pa.bool_(),
}
_Row = tuple[str, str, int, str, bool | None]


def write_mind_impressions(
    folders: list[Path], path: Path, has_histories: bool = True
) -> Counter[str]:
    """Write `path`; returns counts of rows and of what was left out.

    `has_histories` says whether the users' histories are landed too.
    """
    titles: dict[str, str] = {}
    for folder in folders:
        news, _ = read_news(folder / "news.tsv")
        titles |= {name: each.title for name, each in news.items() if each.title.strip()}
    counts: Counter[str] = Counter()
    schema = pa.schema(_COLUMNS, {VIEW_TIMES_MADE_UP: b"true"} if has_histories else None)
    with atomic_file(path) as hidden, pq.ParquetWriter(hidden, schema) as file:
        rows: list[_Row] = []
        for folder in folders:
            for row in _rows(folder, titles, counts):
                rows.append(row)
                if len(rows) >= _ROWS_PER_BATCH:
                    file.write_table(_table(rows, schema))
                    rows.clear()
        file.write_table(_table(rows, schema))
    return counts


def _rows(folder: Path, titles: dict[str, str], counts: Counter[str]) -> Iterator[_Row]:
    path = folder / "behaviors.tsv"
    is_labelled = has_labels(path)
    for number, line in read_lines(path):
        try:
            impression = parse_impression(line, is_labelled)
        except ValueError:
            continue
        seconds = int(impression.time.timestamp())
        for entry in line.rsplit("\t", 1)[1].split():
            news, mark = entry.rsplit("-", 1) if is_labelled else (entry, "")
            if news not in titles:
                counts["shown news without a title"] += 1
                continue
            counts["impression rows"] += 1
            clicked = mark == "1" if is_labelled else None
            yield f"{folder.name}-{number}", impression.user, seconds, titles[news], clicked


def _table(rows: list[_Row], schema: pa.Schema) -> pa.Table:
    columns = [
        pa.array([row[place] for row in rows], field.type) for place, field in enumerate(schema)
    ]
    return pa.Table.from_arrays(columns, schema=schema)
