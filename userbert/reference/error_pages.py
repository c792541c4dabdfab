"""docs/troubleshooting.md: an entry for each kind of error, made of the list of codes."""

from collections.abc import Iterator

from contracts.terminal.error_codes import ErrorCode, error_codes, group_titles

_HEAD = """# Troubleshooting: what an error says, and what ends it

Every error is one line on stderr, the last ERROR line of a task's log, and with `--json` an object:

```text
userbert browsing-logs: UB-401: gate browsing_logs of 2017-06-29 failed: ...
```

`userbert explain-error UB-401` prints its entry of this page. The exit code says which kind it is:
1 failed (Airflow tries again), 2 bad input, 3 a gate refused, 4 a table or a model is missing, 130
interrupted. `python -m userbert.reference` makes this page of
`contracts/terminal/error_codes.toml`.
"""


def troubleshooting_page() -> str:
    """The page as Markdown."""
    return "\n".join([_HEAD, *_sections()])


def _sections() -> Iterator[str]:
    for number, title in group_titles().items():
        yield f"## UB-{number}xx: {title}\n"
        for entry in error_codes().values():
            if entry.group == number:
                yield _entry_text(entry)


def _entry_text(entry: ErrorCode) -> str:
    return (
        f"### {entry.code}\n\n**{entry.title}.** {entry.means}\n\n- To see more: {entry.look}\n"
        f"- What mends it: {entry.mend}\n- Whom to call: {entry.call}\n"
    )
