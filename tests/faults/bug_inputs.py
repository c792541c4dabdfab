"""Run small inputs that failed once, each as a person would, and print a table of what comes out.

    python tests/faults/bug_inputs.py INPUTS                      # this checkout
    python tests/faults/bug_inputs.py INPUTS --code old --code .  # two checkouts next to each other
    python tests/faults/bug_inputs.py INPUTS --only 17            # the cases whose path holds it

INPUTS is a folder of folders. Each folder with a settings.toml is a landing folder with the day
2026-01-31, which is ingested into a lake of its own. Some folders take more commands, which
`COMMANDS` names. A traceback that a command ends in is shown by its last line.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from deltalake import DeltaTable

ROOT = Path(__file__).parents[2]
DAY = "2026-01-31"
INGEST = ("browsing-logs", "--from-day", DAY, "--to-day", DAY)
LIMIT_S = 300
SPARKS_OWN_WORDS = re.compile(
    r"\[Stage|WARNING|(\d\d/\d\d/\d\d )?\d\d:\d\d:\d\d |Setting default|To adjust|Using Spark"
)
MAX_SHOWN = 3  # views and refused lines of a case

# By the number of a folder: what is run after its landing day, or in a lake of a few vectors.
COMMANDS: Mapping[str, tuple[tuple[str, ...], ...]] = {
    "13": (("titles",), ("sql", "SELECT title FROM titles ORDER BY title")),
    "14": (("features", "history", "--file", "{inputs}/ids.csv", "--out", "{root}/o.parquet"),),
    "15": tuple(
        ("features", "history", "--file", f"{{inputs}}/{name}.csv", "--out", f"{{root}}/{name}.p")
        for name in ("mixed", "mixedzone", "epoch", "epochms", "epochus", "dm", "bad")
    ),
    "16": (("features", "history", "--file", "{inputs}/clash.csv", "--out", "{root}/o.parquet"),),
    "17": (
        ("cohort", "--file", "{inputs}/forget-bom.txt"),
        ("forget", "--file", "{root}/no-such-file.txt", "--yes"),
        ("forget", "--file", "{inputs}/forget-bom.txt", "--yes"),
        ("sql", "SELECT user_id FROM browsing_logs ORDER BY user_id"),
    ),
    "18": (("forget", "person-big", "--yes"), INGEST),
    "19": (("summary",),),
}
OF_VECTORS = ("14", "15", "16", "17")  # their folders have no landing day

# A lake with the users of these folders: a view of each on one day, and a vector on the next two.
MAKE_VECTORS = """
import json, sys
from datetime import date
from pathlib import Path
from contracts.paths import Places
from small_lake import embedding, publish
users = ["007", "7", "NULL", "NA", "nan", "None", "u0000021", "u0000022", "u0000023"]
places = Places(Path(sys.argv[1]))
for day in (date(2026, 1, 10), date(2026, 1, 11)):
    publish(places, [embedding(user, day, [n + 1, 2, day.day]) for n, user in enumerate(users)])
folder = places.root / "landing" / "2026-01-31"
folder.mkdir(parents=True)
(folder.parent / "settings.toml").write_text(
    'format = "jsonl"\\n[columns]\\nuser_id = "user"\\nevent_time = "time"\\ntitle = "title"\\n'
)
lines = [json.dumps({"user": u, "time": "2026-01-31T10:00:00Z", "title": "A page"}) for u in users]
(folder / "a.jsonl").write_text("\\n".join(lines) + "\\n")
"""


@dataclass(frozen=True)
class Outcome:
    code: int
    text: str


def run_python(code: Path, root: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """A command of the checkout `code` on the data root `root`."""
    environment = os.environ | {
        "PYTHONPATH": f"{code}{os.pathsep}{code / 'tests'}",
        "USERBERT_DATA": str(root),
        "PYTHONWARNINGS": "ignore",
    }
    return subprocess.run(
        [sys.executable, *words],
        cwd=root,
        env=environment,
        text=True,
        capture_output=True,
        timeout=LIMIT_S,
        check=False,
    )


def run_command(code: Path, root: Path, inputs: Path, words: tuple[str, ...]) -> Outcome:
    words = tuple(word.format(inputs=inputs, root=root) for word in words)
    done = run_python(code, root, "-m", "userbert.cli", *words)
    text = complaint(done.stderr) if done.returncode else done.stdout.strip()
    hidden = {str(root): "ROOT", str(inputs): "INPUTS", str(code): "CODE"}
    for path, name in hidden.items():
        text = text.replace(path, name)
    if not done.returncode and "history" in words:
        text = read_features(Path(words[-1]))
    if not done.returncode and words == ("summary",):
        line = next(line for line in text.splitlines() if "lines in" in line)
        text = f"{len(line):,} characters: {line}"
    return Outcome(done.returncode, text)


def complaint(stderr: str) -> str:
    """The line that says what is wrong, without Spark's own words; of a traceback its last one."""
    lines = [line for line in re.split(r"[\r\n]+", stderr) if line.strip()]
    if any(line.startswith("Traceback") for line in lines):
        errors = [
            line for line in lines if re.match(r"[\w.]+(Error|Exception|Failed|Stop)\b", line)
        ]
        return f"TRACEBACK of {len(lines)} lines: {(errors or lines)[-1]}"
    return "\n".join(line for line in lines if not SPARKS_OWN_WORDS.match(line))


def read_features(path: Path) -> str:
    import pyarrow.parquet as pq

    columns = pq.read_table(path).select(["user_id", "embedding"])
    return ", ".join(
        f"{user}: {'no vector' if vector is None else 'a vector'}"
        for user, vector in zip(*(column.to_pylist() for column in columns.columns), strict=True)
    )


def landing_folders(inputs: Path) -> Iterator[tuple[Path, tuple[tuple[str, ...], ...]]]:
    """Each case's folder, and the commands that are run after its landing day."""
    for folder in sorted(path for path in inputs.iterdir() if path.is_dir()):
        commands = COMMANDS.get(folder.name[:2], ())
        if folder.name[:2] in OF_VECTORS:
            yield folder, commands
        for settings in sorted(folder.rglob("settings.toml")):
            yield settings.parent, commands


def rows_of(root: Path, table: str, columns: list[str]) -> list[dict[str, object]]:
    folder = root / "lake" / table
    if not folder.is_dir():
        return []
    return DeltaTable(str(folder)).to_pyarrow_dataset().to_table(columns=columns).to_pylist()


def ingest(code: Path, root: Path, folder: Path) -> tuple[str, ...]:
    """Exit code, accepted and refused lines, and the first of them or the error."""
    shutil.copytree(folder, root / "landing")
    for path in (root / "landing").rglob("*"):
        path.chmod(path.stat().st_mode | 0o700)
    outcome = run_command(code, root, folder, INGEST)
    views = rows_of(root, "browsing_logs", ["user_id", "event_time", "title", "host"])
    refused = rows_of(root, "rejected_logs", ["file", "line", "reasons"])
    refused.sort(key=lambda row: (row["file"], row["line"]))
    views.sort(key=lambda row: (row["event_time"], row["user_id"]))
    shown = [
        f"{row['user_id']!r} {row['event_time']:%d %H:%M:%S} {row['title']!r}"
        + (f" on {row['host']!r}" if row["host"] else "")
        for row in views[:MAX_SHOWN]
    ]
    shown += [
        f"refused {Path(str(row['file'])).name}:{row['line']} {'; '.join(row['reasons'])[:120]}"
        for row in refused[:MAX_SHOWN]
    ]
    text = outcome.text.partition("\n")[0] if outcome.code else "; ".join(shown)
    return str(outcome.code), str(len(views)), str(len(refused)), text


def outcomes(
    code: Path, folder: Path, commands: tuple[tuple[str, ...], ...]
) -> Iterator[tuple[str, ...]]:
    """(what was run, exit code, accepted, refused, what came out) of each command of a case."""
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        if (folder / "settings.toml").exists():
            yield "browsing-logs", *ingest(code, root, folder)
        else:
            made = run_python(code, root, "-c", MAKE_VECTORS, name)
            if made.returncode:
                raise SystemExit(made.stderr)
            if folder.name.startswith("17"):
                run_command(code, root, folder, INGEST)
            else:
                run_command(code, root, folder, ("features", "apply"))
        for words in commands:
            outcome = run_command(code, root, folder, words)
            shown = " ".join(Path(word).name if "/" in word else word for word in words)
            text = " ".join(outcome.text.split())
            yield shown, str(outcome.code), "", "", text


def say(*cells: str) -> None:
    safe = (" ".join(cell.split()).replace("|", "\\|") for cell in cells)
    sys.stdout.write(f"| {' | '.join(safe)} |\n")
    sys.stdout.flush()


def main(inputs: Path, codes: list[Path], only: str) -> None:
    say("case", "code", "command", "exit", "accepted", "refused", "what came out")
    say(*["---"] * 7)
    for folder, commands in landing_folders(inputs):
        case = str(folder.relative_to(inputs))
        for code in codes if only in case else []:
            for ran, *cells, text in outcomes(code.resolve(), folder, commands):
                say(case, code.resolve().name, ran, *cells, text[:300])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("inputs", type=Path, help="the folder of the inputs")
    parser.add_argument(
        "--code", type=Path, action="append", metavar="FOLDER", help="a checkout to try"
    )
    parser.add_argument("--only", default="", metavar="WORD", help="cases whose path holds it")
    arguments = parser.parse_args()
    main(arguments.inputs.resolve(), arguments.code or [ROOT], arguments.only)
