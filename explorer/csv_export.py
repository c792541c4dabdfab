"""The chosen users as CSV, for spreadsheets."""

import csv
import io
from collections.abc import Iterable, Sequence

from contracts.terminal.csv_cells import plain_cell


def csv_text(rows: Iterable[Sequence[object]], columns: Sequence[str]) -> str:
    """Numbers as they are; a text that a spreadsheet would run has an apostrophe before it."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([plain_cell(value) for value in row] for row in rows)
    return out.getvalue()
