"""Write the report of a run: one page to look at, and its facts as JSON.

userbert report                                    (the newest night)
userbert report --as-of 2017-06-30
userbert report --of history --from 2017-01-01 --to 2017-06-28
userbert report --of backfill --from 2017-06-01 --to 2017-06-30 --model MODEL_ID
userbert report --of training --model MODEL_ID

The page is one file without scripts, below reports/ of the data root; reports/index.html lists the
newest. A report reads the lake, the gates' results and Spark's event logs, and changes none of
them: the same command writes it again.
"""

import json as jsonlib
import sys
from datetime import date
from pathlib import Path
from typing import Annotated, Any

import typer

from contracts.errors import BadInput, MissingTable
from contracts.paths import Places
from contracts.storage.atomic_write import write_text
from contracts.terminal.options import AsJson, choice_option, day_option
from contracts.terminal.printing import print_parts
from expectations.results import keep_newest
from userbert.report.differences import read_report
from userbert.report.gather import gather_report, newest_as_of
from userbert.report.lake_tables import LakeTables
from userbert.report.page.render import render_index, render_report
from userbert.report.subject import KIND_NAMES, Subject
from userbert.report.training_facts import day_of_training, newest_model_id

_MAX_REPORTS = 1000  # of a kind whose JSON is kept, about 60 KB each
_MAX_PAGES = 100  # of a kind that are kept, about 250 KB each; JSON gives them back
_MAX_LISTED = 60  # reports on the index


def write_report(places: Places, subject: Subject) -> dict[str, Any]:
    """Write the page, its JSON and the index; the report's facts."""
    facts = gather_report(LakeTables(places), subject)
    write_text(subject.path(places, ".json"), jsonlib.dumps(facts, indent=1) + "\n")
    write_text(subject.path(places, ".html"), render_report(facts))
    folder = places.reports / subject.kind
    keep_newest(folder, "*.json", _MAX_REPORTS)
    keep_newest(folder, "*.html", _MAX_PAGES)
    _write_index(places)
    return facts


def _write_index(places: Places) -> None:
    pages = [page for kind in KIND_NAMES for page in (places.reports / kind).glob("*.html")]
    newest = sorted(pages, key=lambda page: page.stat().st_mtime_ns, reverse=True)[:_MAX_LISTED]
    reports = [read_report(page.with_suffix(".json")) for page in newest]
    text = render_index([report for report in reports if report is not None])
    write_text(places.reports / "index.html", text)


def named_subject(
    places: Places,
    kind: str,
    as_of: date | None = None,
    first: date | None = None,
    last: date | None = None,
    model_id: str | None = None,
) -> Subject:
    """The run that the options of the command name."""
    if kind in ("history", "backfill"):
        if first is None or last is None or as_of is not None:
            raise BadInput(f"a {kind} is named by its days: --from DAY --to DAY")
        if last < first:
            raise BadInput(f"--from {first} is after --to {last}")
        return Subject(kind, first, last, model_id if kind == "backfill" else None)
    if first is not None or last is not None:
        raise BadInput(f"--from and --to are for a history or a backfill; a {kind} has --as-of")
    tables = LakeTables(places)
    if kind == "training":
        model_id = model_id or newest_model_id(tables)
        if model_id is None:
            raise MissingTable("no model is registered: `userbert pretrain` trains one")
        day = as_of or day_of_training(tables, model_id)
        return Subject(kind, day, day, model_id)
    day = as_of or newest_as_of(tables)
    return Subject(kind, day, day)


def main(
    of: Annotated[str, choice_option("--of", KIND_NAMES, help="The kind of run.")] = "night",
    as_of: Annotated[
        date | None,
        day_option("--as-of", help="The as_of day of the night. [default: the newest night]"),
    ] = None,
    first: Annotated[
        date | None,
        day_option("--from", help="The first landing day of a history, or as_of of a backfill."),
    ] = None,
    last: Annotated[date | None, day_option("--to", help="The last such day, included.")] = None,
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            metavar="MODEL_ID",
            help="The model of a backfill or a training. [default: the newest model]",
        ),
    ] = None,
    json: AsJson = False,
) -> None:
    places = Places.from_environment()
    subject = named_subject(places, of, as_of, first, last, model)
    facts = write_report(places, subject)
    if json:
        sys.stdout.write(jsonlib.dumps(facts, indent=2) + "\n")
        return
    verdict = facts["verdict"]
    print_parts(verdict["sentence"], *verdict["remarks"], _page_line(subject.path(places, ".html")))


def _page_line(page: Path) -> str:
    return f"report: {page} ({page.stat().st_size / 1e3:,.0f} kB)"
