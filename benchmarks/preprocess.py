"""Raw logs to titles, sessions and pairs: ours, a row UDF, DuckDB, Polars; and a night on top.

    python -m benchmarks.preprocess [--views 5000000 20000000] [--folder DIR] [--polars PYTHON]
    python -m benchmarks.preprocess --paper [--folder DIR]

generates logs of about that number of views (one user for each hundred) as Parquet, and for each
size runs, in a process of its own,

    build   browsing-logs, titles, sessions and sequence-pairs of all landing days but the last
    copy    the same landing lines into a Delta table by day without parsing: the least it can take
    tokens  titles of a sample of views by NLTK in a row UDF, and those of all views by our job
    pairs   sessions and pairs of all views to Parquet: ours, by pairs.sql, by pairs_polars.py
    night   the last day on top: browsing-logs, titles, sessions, user-sequences
    again   all days at once in another lake, for the comparison with build + night

The paper's size (500,000 users, 63.2 million views) is generated and built, with a night on top, no
more. What a night costs for next to nothing is measures by `--views 20000`.

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

from benchmarks.harness import benchmark_parser, print_result
from contracts.paths import Places
from contracts.tables import BROWSING_LOGS, REJECTED_LOGS, SESSIONS, TITLES, USER_SEQUENCES
from spark_jobs.spark.process_cost import measure_processes

FIRST_DAY, NUM_DAYS = date(2017, 1, 1), 144  # in which a user has a hundred views
PAPER_USERS, PAPER_DAYS = 500_000, 181  # in which they have the paper's 63.2 million
SAMPLE_SIZE = 100_000  # views that the row UDF tokenizes
PAIRS_SQL = Path(__file__).with_name("pairs.sql")
POLARS_PROGRAM = "import sys; import pairs_polars; pairs_polars.main(*sys.argv[1:])"
SUBMIT_ARGUMENTS = "--master local[2] --conf spark.ui.showConsoleProgress=false {} pyspark-shell"
# A build of minutes wants the second compiler, which a night's short jobs do better without.
LONG_JOB_OPTIONS = "--conf spark.driver.extraJavaOptions=-XX:+UseParallelGC"
SHORT_STEPS = ("night",)
CLAIM_TARGETS = {
    "tokens_to_row_udf": (50, "least"),
    "pairs_to_duckdb": (2, "most"),
    "views_a_second": (400_000, "least"),
    "growth": (4.2, "most"),
    "peak_gib": (6, "most"),
    "build_to_night": (10, "least"),
}
Measures = dict[str, Any]


@dataclass(frozen=True)
class Options:
    users: int
    days: int
    polars: str | None  # a Python that has it


def day_text(number: int) -> str:
    return str(FIRST_DAY + timedelta(days=number))


def run_job(words: list[str]) -> Measures:
    from userbert import cli

    with measure_processes() as cost:
        if cli.main(words) != 0:
            raise SystemExit(f"userbert {' '.join(words)} failed")
    return asdict(cost)


def run_jobs(*commands: list[str]) -> Measures:
    """Each command's cost, and `all` of them together."""
    with measure_processes() as cost:
        each = {words[0]: run_job(words) for words in commands}
    return {**each, "all": asdict(cost)}


def ingest_command(first: int, last: int) -> list[str]:
    return ["browsing-logs", "--from-day", day_text(first), "--to-day", day_text(last)]


def pairs_command(last: int) -> list[str]:
    return ["sequence-pairs", "--as-of", day_text(last + 1)]


def generate_logs(options: Options) -> Measures:
    size = ["--users", str(options.users), "--days", str(options.days), "--from", day_text(0)]
    run_job(["logs", "generate", *size, "--seed", "1", "--format", "parquet"])
    summary = Places.from_environment().root / "planted" / "summary.json"
    return {"views": json.loads(summary.read_text())["views"]}


def build_tables(options: Options) -> Measures:
    """All landing days but the last."""
    last = options.days - 2
    return {
        **run_jobs(ingest_command(0, last), ["titles"], ["sessions"], pairs_command(last)),
        "lines": count_rows(landed_files(options)),
        "views": count_rows(table_files(BROWSING_LOGS.name)),
        "refused": count_rows(table_files(REJECTED_LOGS.name)),
    }


def landed_files(options: Options) -> list[str]:
    """The files that `build_tables` reads."""
    landing = Places.from_environment().landing
    days = range(options.days - 1)
    return [str(path) for n in days for path in sorted((landing / day_text(n)).glob("*.parquet"))]


def copy_lines(options: Options) -> Measures:
    from pyspark.sql import functions as F

    from spark_jobs.spark.session import session

    files = landed_files(options)
    lines = session("copy").read.parquet(*files).withColumn("day", F.to_date("time"))
    copied = str(Places.from_environment().root / "copied")
    with measure_processes() as cost:
        lines.write.format("delta").partitionBy("day").mode("overwrite").save(copied)
    return {**asdict(cost), "lines": count_rows(files)}


def count_rows(files: list[str]) -> int:
    import duckdb

    found = duckdb.sql(f"select count(*) from read_parquet({files})")
    return int(found.fetchall()[0][0])


def run_night(options: Options) -> Measures:
    last = options.days - 1
    sequences = ["user-sequences", "--as-of", day_text(options.days)]
    return run_jobs(ingest_command(last, last), ["titles"], ["sessions"], sequences)


def build_again(options: Options) -> Measures:
    """The lake that is there moves aside, and everything is built at once."""
    lake = Path(Places.from_environment().lake)
    lake.rename(lake.with_name("lake-by-night"))
    sequences = ["user-sequences", "--as-of", day_text(options.days)]
    measures = run_jobs(ingest_command(0, options.days - 1), ["titles"], ["sessions"], sequences)
    return {**measures, "agree": {table.name: have_equal_tables(table.name) for table in
                              (BROWSING_LOGS, TITLES, SESSIONS, USER_SEQUENCES)}}  # fmt: skip


def have_equal_tables(table: str) -> bool:
    lake = Path(Places.from_environment().lake)
    there = table_files(table, lake.with_name("lake-by-night"))
    here = table_files(table)
    return have_equal_rows(f"read_parquet({here})", f"read_parquet({there})")


def table_files(table: str, lake: Path | None = None) -> list[str]:
    """Those of the table's newest version."""
    from deltalake import DeltaTable

    return DeltaTable(str((lake or Path(Places.from_environment().lake)) / table)).file_uris()


def have_equal_rows(one: str, other: str, columns: str = "row") -> bool:
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


def tokenize_both(_: Options) -> Measures:
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

    sample = views.select("title").limit(SAMPLE_SIZE).repartition(2).persist()
    rows, num = sample.count(), views.count()
    none = spark.createDataFrame([], TITLES.ddl)
    ways = {
        "row_udf": (rows, sample.select(words("title"))),
        "ours": (num, with_words(new_titles(views, none))),
    }
    for _count, frame in ways.values():  # JVM and Python warm
        frame.limit(1_000).write.format("noop").mode("overwrite").save()
    return {name: {**_noop(frame), "views": count} for name, (count, frame) in ways.items()}


def _noop(frame: Any) -> Measures:
    with measure_processes() as cost:
        frame.write.format("noop").mode("overwrite").save()
    return asdict(cost)


def pairs_of_views(options: Options) -> Measures:
    import duckdb

    from spark_jobs.spark.session import session
    from spark_jobs.tables.sequence_pairs import to_pairs
    from spark_jobs.tables.sessions import to_sessions

    root = Places.from_environment().root
    files = table_files(BROWSING_LOGS.name)
    spark = session("pairs")
    views = spark.read.parquet(*files)  # as the others read them
    made = to_pairs(to_sessions(views), FIRST_DAY + timedelta(days=options.days), options.days + 1)
    with measure_processes() as ours:
        made.write.mode("overwrite").parquet(str(root / "pairs-ours"))
    spark.stop()
    with measure_processes() as theirs:
        duckdb.sql("set threads = 2; set TimeZone = 'UTC'; set enable_progress_bar = false")
        query = f"copy ({PAIRS_SQL.read_text()}) to '{root}/pairs-duckdb.parquet' (format parquet)"
        duckdb.execute(query, {"views": files})
    measures = {"ours": asdict(ours), "duckdb": asdict(theirs)}
    others = [f"'{root}/pairs-duckdb.parquet'"]
    if options.polars:
        others.append(f"'{root}/pairs-polars.parquet'")
        words = [options.polars, "-c", POLARS_PROGRAM, f"{root}/pairs-polars.parquet", *files]
        threads = os.environ | {"POLARS_MAX_THREADS": "2", "PYTHONPATH": str(PAIRS_SQL.parent)}
        with measure_processes() as polars:
            subprocess.run(words, env=threads, stdout=subprocess.DEVNULL, check=True)
        measures["polars"] = asdict(polars)
    mine = f"'{root}/pairs-ours/*.parquet'"
    return {
        **measures,
        "agree": all(have_equal_rows(mine, other, PAIR_COLUMNS) for other in others),
    }


PAIR_COLUMNS = (
    "user_id, pair_id, a_title_ids, b_title_ids, "
    "a_event_times::timestamp[], b_event_times::timestamp[]"
)
BENCHMARK_STEPS: dict[str, Callable[[Options], Measures]] = {
    "generate": generate_logs,
    "build": build_tables,
    "copy": copy_lines,
    "tokens": tokenize_both,
    "pairs": pairs_of_views,
    "night": run_night,
    "again": build_again,
}


def run_step(step: str, options: Options, root: Path) -> Measures:
    """A step in a process of its own, whose last line is what it measured."""
    submit = SUBMIT_ARGUMENTS.format("" if step in SHORT_STEPS else LONG_JOB_OPTIONS)
    environment = {**os.environ, "USERBERT_DATA": str(root), "PYSPARK_SUBMIT_ARGS": submit}
    words = [sys.executable, "-m", "benchmarks.preprocess", "--step", step]
    words += ["--users", str(options.users), "--days", str(options.days)]
    words += ["--polars", options.polars] if options.polars else []
    done = subprocess.run(words, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    measures: Measures = json.loads(done.stdout.splitlines()[-1])
    sys.stderr.write(f"{options.users:,} users, {step}: {measures}\n")
    return measures


def build_rates(build: Measures) -> Measures:
    """Of a build alone: its rate and its memory."""
    every, views = build["all"], build["views"]
    return {
        "views": views,
        "seconds": every["seconds"],
        "views_a_second": round(views / every["seconds"]),
        "views_a_cpu_second": round(views / every["cpu_seconds"]),
        "peak_gib": round(every["peak_bytes"] / 2**30, 2),
    }


def claimed_figures(by_size: dict[int, dict[str, Measures]]) -> Measures:
    """The claims: ratios of CPU seconds, rates and growth of wall time, of the largest size."""
    most = by_size[max(by_size)]
    rates = {name: one["views"] / one["cpu_seconds"] for name, one in most["tokens"].items()}
    build, least = most["build"], by_size[min(by_size)]["build"]
    grown = build["views"] / least["views"]
    peaks = [one.get("all", {}).get("peak_bytes", 0) for measures in by_size.values()
             for one in measures.values()]  # fmt: skip
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


def build_to_night(measures: dict[str, Measures]) -> float:
    """How many times as long a build takes as a night on top of it, by the wall."""
    build, night = (measures[step]["all"]["seconds"] for step in ("build", "night"))
    return float(round(build / night, 1))


def measure_paper_size(root: Path) -> Measures:
    options = Options(PAPER_USERS, PAPER_DAYS, None)
    measures = {step: run_step(step, options, root) for step in ("generate", "build", "night")}
    build = measures["build"]
    agree = 0 < build["views"] == build["lines"] - build["refused"]  # every line is in one table
    return {
        "agree": agree,
        **build_rates(build),
        "build_to_night": build_to_night(measures),
        "measured": measures,
    }


def measure_sizes(root: Path, views: list[int], polars: str | None) -> Measures:
    by_size = {
        n: {
            step: run_step(step, Options(max(n // 100, 2), NUM_DAYS, polars), root / str(n))
            for step in BENCHMARK_STEPS
        }
        for n in views
    }
    agree = all(measures["pairs"]["agree"] and all(measures["again"]["agree"].values())
                for measures in by_size.values())  # fmt: skip
    return {
        "agree": agree,
        **claimed_figures(by_size),
        "targets": CLAIM_TARGETS,
        "measured": by_size,
    }


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
        measures = BENCHMARK_STEPS[step](Options(users, days, polars))
        sys.stdout.write("\n" + json.dumps(measures) + "\n")
        return
    with tempfile.TemporaryDirectory() as scratch:
        root = folder or Path(scratch)
        found = measure_paper_size(root) if paper_size else measure_sizes(root, views, polars)
    print_result({"name": "preprocess" + " at the paper's size" * paper_size, **found})


def arg_parser() -> argparse.ArgumentParser:
    parser = benchmark_parser(__doc__)
    add = parser.add_argument
    add("--views", type=int, nargs="+", default=[5_000_000, 20_000_000], help="about this number")
    add("--paper", dest="paper_size", action="store_true", help="500,000 users: build and night")
    add("--folder", type=Path, help="for logs and lakes; a temporary one without it")
    add("--polars", metavar="PYTHON", help="the Python of an environment that has Polars 2")
    add("--step", choices=BENCHMARK_STEPS, help=argparse.SUPPRESS)
    add("--users", type=int, default=0, help=argparse.SUPPRESS)  # of a step
    add("--days", type=int, default=0, help=argparse.SUPPRESS)
    return parser


if __name__ == "__main__":
    main(**vars(arg_parser().parse_args()))
