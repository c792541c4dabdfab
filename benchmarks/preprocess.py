"""Raw logs to titles, sessions and pairs: ours, a row UDF, DuckDB, Polars; and a night on top.

    python -m benchmarks.preprocess [--views 5000000 20000000] [--folder DIR] [--polars PYTHON]
    python -m benchmarks.preprocess --paper [--folder DIR]

makes logs of about so many views (one user for each hundred) as Parquet, and for each size runs, in
a process of its own,

    build   browsing-logs, titles, sessions and sequence-pairs of all landing days but the last
    copy    the same landing lines into a Delta table by day, unlooked at: the least it can take
    tokens  titles of a sample of views by NLTK in a row UDF, and those of all views by our job
    pairs   sessions and pairs of all views to Parquet: ours, by pairs.sql, by pairs_polars.py
    night   the last day on top: browsing-logs, titles, sessions, user-sequences
    again   all days at once in another lake, for the comparison with build + night

The paper's size (500,000 users, 63.2 million views) is generated and built, with a night on top, no
more. What a night costs for next to nothing is told by `--views 20000`.

Polars's pins fight with Feast's, so it is not among the project's packages: name the Python of an
environment that has it, or it is left out. CPU time and resident memory are summed over the JVM
and the Python workers. All outputs that should be equal are compared, row by row. The last line
is JSON.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from benchmarks.meter import measured
from contracts.paths import Places
from contracts.provenance import code_version
from contracts.tables import BROWSING_LOGS, REJECTED_LOGS, SESSIONS, TITLES, USER_SEQUENCES

FIRST, DAYS = date(2017, 1, 1), 144  # in which a user has a hundred views
PAPER_USERS, PAPER_DAYS = 500_000, 181  # in which they have the paper's 63.2 million
SAMPLE = 100_000  # views that the row UDF tokenizes
SQL = Path(__file__).with_name("pairs.sql")
POLARS = "import sys; import pairs_polars; pairs_polars.main(*sys.argv[1:])"
SUBMIT = "--master local[2] --conf spark.ui.showConsoleProgress=false {} pyspark-shell"
# A build of minutes wants the second compiler, which a night's short jobs do better without.
LONG = "--conf spark.driver.extraJavaOptions=-XX:+UseParallelGC"
SHORT = ("night",)
TARGETS = {
    "tokens_to_row_udf": (50, "least"),
    "pairs_to_duckdb": (2, "most"),
    "views_a_second": (400_000, "least"),
    "growth": (4.2, "most"),
    "peak_gib": (6, "most"),
    "build_to_night": (10, "least"),
}
Told = dict[str, Any]


@dataclass(frozen=True)
class Options:
    users: int
    days: int
    polars: str | None  # a Python that has it


def day(number: int) -> str:
    return str(FIRST + timedelta(days=number))


def job(words: list[str]) -> Told:
    from userbert import cli

    with measured() as told:
        if cli.main(words) != 0:
            raise SystemExit(f"userbert {' '.join(words)} failed")
    return asdict(told)


def jobs(*commands: list[str]) -> Told:
    """Each command's cost, and `all` of them together."""
    with measured() as told:
        each = {words[0]: job(words) for words in commands}
    return {**each, "all": asdict(told)}


def ingest(first: int, last: int) -> list[str]:
    return ["browsing-logs", "--from-day", day(first), "--to-day", day(last)]


def pairs(last: int) -> list[str]:
    return ["sequence-pairs", "--as-of", day(last + 1)]


def generate(options: Options) -> Told:
    size = ["--users", str(options.users), "--days", str(options.days), "--from", day(0)]
    job(["logs", "generate", *size, "--seed", "1", "--format", "parquet"])
    summary = Places.from_environment().root / "planted" / "summary.json"
    return {"views": json.loads(summary.read_text())["views"]}


def build(options: Options) -> Told:
    """All landing days but the last."""
    last = options.days - 2
    return {
        **jobs(ingest(0, last), ["titles"], ["sessions"], pairs(last)),
        "lines": count_rows(landed(options)),
        "views": count_rows(files_of(BROWSING_LOGS.name)),
        "refused": count_rows(files_of(REJECTED_LOGS.name)),
    }


def landed(options: Options) -> list[str]:
    """The files that `build` reads."""
    landing = Places.from_environment().landing
    days = range(options.days - 1)
    return [str(path) for n in days for path in sorted((landing / day(n)).glob("*.parquet"))]


def copy(options: Options) -> Told:
    from pyspark.sql import functions as F

    from spark_jobs.spark.session import session

    files = landed(options)
    lines = session("copy").read.parquet(*files).withColumn("day", F.to_date("time"))
    copied = str(Places.from_environment().root / "copied")
    with measured() as told:
        lines.write.format("delta").partitionBy("day").mode("overwrite").save(copied)
    return {**asdict(told), "lines": count_rows(files)}


def count_rows(files: list[str]) -> int:
    import duckdb

    found = duckdb.sql(f"select count(*) from read_parquet({files})")
    return int(found.fetchall()[0][0])


def night(options: Options) -> Told:
    last = options.days - 1
    sequences = ["user-sequences", "--as-of", day(options.days)]
    return jobs(ingest(last, last), ["titles"], ["sessions"], sequences)


def again(options: Options) -> Told:
    """The lake that is there moves aside, and everything is built at once."""
    lake = Path(Places.from_environment().lake)
    lake.rename(lake.with_name("lake-by-night"))
    sequences = ["user-sequences", "--as-of", day(options.days)]
    told = jobs(ingest(0, options.days - 1), ["titles"], ["sessions"], sequences)
    return {**told, "agree": {table.name: same_tables(table.name) for table in
                              (BROWSING_LOGS, TITLES, SESSIONS, USER_SEQUENCES)}}  # fmt: skip


def same_tables(table: str) -> bool:
    lake = Path(Places.from_environment().lake)
    there = files_of(table, lake.with_name("lake-by-night"))
    here = files_of(table)
    return same_rows(f"read_parquet({here})", f"read_parquet({there})")


def files_of(table: str, lake: Path | None = None) -> list[str]:
    """Those of the table's newest version."""
    from deltalake import DeltaTable

    return DeltaTable(str((lake or Path(Places.from_environment().lake)) / table)).file_uris()


def same_rows(one: str, other: str, columns: str = "row") -> bool:
    """Whether two of DuckDB's relations hold equal rows, each as often, and at least one."""
    import duckdb

    duckdb.sql("set TimeZone = 'UTC'")
    a, b = (
        f"select hash({columns}) as h, count(*) from {each} as row group by h"
        for each in (one, other)
    )
    differing = f"select count(*) from (({a} except {b}) union all ({b} except {a}))"
    found = duckdb.sql(f"select ({differing}) = 0 and (select count(*) from {one}) > 0")
    return bool(found.fetchall()[0][0])


def tokens(_: Options) -> Told:
    """Views a second and core of the row UDF, and of our job up to its gate."""
    from pyspark.sql import functions as F

    from spark_jobs.lake.lake import Lake
    from spark_jobs.spark.session import session
    from spark_jobs.tables.titles import new_titles, with_words

    spark = session("tokens")
    views = Lake(spark, Places.from_environment().lake).read(BROWSING_LOGS)

    @F.udf("array<string>")
    def words(title: str) -> list[str]:
        from nltk.tokenize import word_tokenize

        return list(word_tokenize(title.lower(), preserve_line=True))

    sample = views.select("title").limit(SAMPLE).repartition(2).persist()
    rows, num = sample.count(), views.count()
    none = spark.createDataFrame([], TITLES.ddl)
    ways = {
        "row_udf": (rows, sample.select(words("title"))),
        "ours": (num, with_words(new_titles(views, none))),
    }
    for _count, frame in ways.values():  # JVM and Python warm
        frame.limit(1_000).write.format("noop").mode("overwrite").save()
    return {name: {**_noop(frame), "views": count} for name, (count, frame) in ways.items()}


def _noop(frame: Any) -> Told:
    with measured() as told:
        frame.write.format("noop").mode("overwrite").save()
    return asdict(told)


def pairs_of_views(options: Options) -> Told:
    import duckdb

    from spark_jobs.spark.session import session
    from spark_jobs.tables.sequence_pairs import to_pairs
    from spark_jobs.tables.sessions import to_sessions

    root = Places.from_environment().root
    files = files_of(BROWSING_LOGS.name)
    spark = session("pairs")
    views = spark.read.parquet(*files)  # as the others read them
    made = to_pairs(to_sessions(views), FIRST + timedelta(days=options.days), options.days + 1)
    with measured() as ours:
        made.write.mode("overwrite").parquet(str(root / "pairs-ours"))
    spark.stop()
    with measured() as theirs:
        duckdb.sql("set threads = 2; set TimeZone = 'UTC'; set enable_progress_bar = false")
        query = f"copy ({SQL.read_text()}) to '{root}/pairs-duckdb.parquet' (format parquet)"
        duckdb.execute(query, {"views": files})
    told = {"ours": asdict(ours), "duckdb": asdict(theirs)}
    others = [f"'{root}/pairs-duckdb.parquet'"]
    if options.polars:
        others.append(f"'{root}/pairs-polars.parquet'")
        words = [options.polars, "-c", POLARS, f"{root}/pairs-polars.parquet", *files]
        threads = os.environ | {"POLARS_MAX_THREADS": "2", "PYTHONPATH": str(SQL.parent)}
        with measured() as polars:
            subprocess.run(words, env=threads, stdout=subprocess.DEVNULL, check=True)
        told["polars"] = asdict(polars)
    mine = f"'{root}/pairs-ours/*.parquet'"
    return {**told, "agree": all(same_rows(mine, other, PAIR_COLUMNS) for other in others)}


PAIR_COLUMNS = (
    "user_id, pair_id, a_title_ids, b_title_ids, "
    "a_event_times::timestamp[], b_event_times::timestamp[]"
)
STEPS: dict[str, Callable[[Options], Told]] = {
    "generate": generate,
    "build": build,
    "copy": copy,
    "tokens": tokens,
    "pairs": pairs_of_views,
    "night": night,
    "again": again,
}


def run(step: str, options: Options, root: Path) -> Told:
    """A step in a process of its own, whose last line is what it measured."""
    submit = SUBMIT.format("" if step in SHORT else LONG)
    environment = {**os.environ, "USERBERT_DATA": str(root), "PYSPARK_SUBMIT_ARGS": submit}
    words = [sys.executable, "-m", "benchmarks.preprocess", "--step", step]
    words += ["--users", str(options.users), "--days", str(options.days)]
    words += ["--polars", options.polars] if options.polars else []
    done = subprocess.run(words, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    told: Told = json.loads(done.stdout.splitlines()[-1])
    sys.stderr.write(f"{options.users:,} users, {step}: {told}\n")
    return told


def built(build: Told) -> Told:
    """Of a build alone: its rate and its memory."""
    every, views = build["all"], build["views"]
    return {
        "views": views,
        "seconds": every["seconds"],
        "views_a_second": round(views / every["seconds"]),
        "views_a_cpu_second": round(views / every["cpu_seconds"]),
        "peak_gib": round(every["peak_bytes"] / 2**30, 2),
    }


def figures(by_size: dict[int, dict[str, Told]]) -> Told:
    """The claims: ratios of CPU seconds, rates and growth of wall time, of the largest size."""
    most = by_size[max(by_size)]
    rates = {name: one["views"] / one["cpu_seconds"] for name, one in most["tokens"].items()}
    build, least = most["build"], by_size[min(by_size)]["build"]
    grown = build["views"] / least["views"]
    peaks = [one.get("all", {}).get("peak_bytes", 0) for told in by_size.values()
             for one in told.values()]  # fmt: skip
    cpu = {name: one["cpu_seconds"] for name, one in most["pairs"].items() if name != "agree"}
    wall = build["all"]["seconds"]
    return {
        "tokens_to_row_udf": round(rates["ours"] / rates["row_udf"], 1),
        "pairs_to_duckdb": round(cpu["ours"] / cpu["duckdb"], 2),
        "views_a_second": round(build["views"] / wall),
        "views_a_cpu_second": round(build["views"] / build["all"]["cpu_seconds"]),
        "copied_a_second": round(most["copy"]["lines"] / most["copy"]["seconds"]),
        "growth": round(4 * wall / least["all"]["seconds"] / grown, 2) if grown > 1 else None,
        "peak_gib": round(max(peaks) / 2**30, 2),
        "build_to_night": build_to_night(most),
    }


def build_to_night(told: dict[str, Told]) -> float:
    """How many times as long a build takes as a night on top of it, by the wall."""
    build, night = (told[step]["all"]["seconds"] for step in ("build", "night"))
    return float(round(build / night, 1))


def paper(root: Path) -> Told:
    options = Options(PAPER_USERS, PAPER_DAYS, None)
    told = {step: run(step, options, root) for step in ("generate", "build", "night")}
    build = told["build"]
    agree = 0 < build["views"] == build["lines"] - build["refused"]  # every line is in one table
    return {
        "agree": agree,
        **built(build),
        "build_to_night": build_to_night(told),
        "measured": told,
    }


def sizes(root: Path, views: list[int], polars: str | None) -> Told:
    by_size = {
        n: {
            step: run(step, Options(max(n // 100, 2), DAYS, polars), root / str(n))
            for step in STEPS
        }
        for n in views
    }
    agree = all(told["pairs"]["agree"] and all(told["again"]["agree"].values())
                for told in by_size.values())  # fmt: skip
    return {"agree": agree, **figures(by_size), "targets": TARGETS, "measured": by_size}


def main(
    views: list[int],
    paper_size: bool,
    folder: Path | None,
    polars: str | None,
    step: str | None,
    users: int,
    days: int,
) -> None:
    if step:
        told = STEPS[step](Options(users, days, polars))
        sys.stdout.write("\n" + json.dumps(told) + "\n")
        return
    with tempfile.TemporaryDirectory() as scratch:
        root = folder or Path(scratch)
        found = paper(root) if paper_size else sizes(root, views, polars)
    result = {"benchmark": "preprocess" + " at the paper's size" * paper_size,
              "code": code_version(), "cores": os.cpu_count(), **found}  # fmt: skip
    sys.stdout.write(json.dumps(result) + "\n")


def arg_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--views", type=int, nargs="+", default=[5_000_000, 20_000_000], help="about so many")
    add("--paper", dest="paper_size", action="store_true", help="500,000 users: build and night")
    add("--folder", type=Path, help="for logs and lakes; a temporary one without it")
    add("--polars", metavar="PYTHON", help="the Python of an environment that has Polars 2")
    add("--step", choices=STEPS, help=argparse.SUPPRESS)
    add("--users", type=int, default=0, help=argparse.SUPPRESS)  # of a step
    add("--days", type=int, default=0, help=argparse.SUPPRESS)
    return parser


if __name__ == "__main__":
    main(**vars(arg_parser().parse_args()))
