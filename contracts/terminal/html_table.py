"""A table as HTML for notebooks: data is text there too, and never markup."""

from collections.abc import Iterable, Sequence
from html import escape


def html_table(rows: Iterable[Sequence[object]]) -> str:
    """The first row is the header."""
    header, *others = [[escape(str(value)) for value in row] for row in rows]
    head = "".join(f'<th scope="col">{value}</th>' for value in header)
    body = "".join(f"<tr>{''.join(f'<td>{value}</td>' for value in row)}</tr>" for row in others)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
