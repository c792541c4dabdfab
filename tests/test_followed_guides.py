"""Each guide is followed from its first command to its last: `make test-docs`.

Its lines are run in the order of the page in a folder of their own: variables are set, files
copied, and `userbert` called, with a tiny lake in place of what the guide's reader has. A line that
takes a cluster, minutes or a network is parsed, and the table says why.
"""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import pytest
from guide_commands import DOCS, page_text
from small_demo import write_demo
from test_guides import parse

from contracts.paths import Places
from userbert.cli import main

REPOSITORY = DOCS.parent
UNTIL_CTRL_C = "it serves until Ctrl-C"
OWN_LOGS = "minutes of Airflow: tests/test_own_logs.py runs the same line"
NO_NETWORK = "it asks a network"


@dataclass(frozen=True)
class Followed:
    """A page; `root` is where its data root lies in the folder.

    words        by a word of the page, the word that is run
    only_parsed  by the begin of a line, why it is not run
    code         by the begin of a line, the exit code that is right on the tiny lake; else 0
    """

    page: str
    root: str = "data"
    words: Mapping[str, str] = field(default_factory=dict)
    only_parsed: Mapping[str, str] = field(default_factory=dict)
    code: Mapping[str, int] = field(default_factory=dict)


GUIDES = (
    Followed(
        "first-run.md",
        only_parsed={"make run": OWN_LOGS, "make airflow": UNTIL_CTRL_C},
    ),
    Followed(
        "your-logs.md",
        root="my-data",
        words={"USER_ID": "1"},
        only_parsed={"make setup": NO_NETWORK, "userbert run --source landing": OWN_LOGS},
    ),
    Followed("schedule.md", only_parsed={"userbert airflow": UNTIL_CTRL_C}),
    Followed(
        "airflow.md",
        only_parsed={
            "userbert steps": "the tiny lake has no landing files: tests/test_steps.py runs steps",
            "eval": "it sets the variables of a running Airflow",
            "airflow backfill": "it needs a running Airflow: tests/test_backfill.py",
        },
    ),
    Followed(
        "upgrade.md",
        root="trial-data",
        only_parsed={
            "git pull": NO_NETWORK,
            "make setup": NO_NETWORK,
            "cp -a data": "the trial's data root is there already",
        },
        code={"userbert audit": 1},  # rows of the tiny lake were made by hand, and it names them
    ),
    Followed("forgetting.md"),
    Followed(
        "backup.md",
        words={
            "/backup/2026-11-28": "backup/28",
            "/backup/2026-11-29": "backup/29",
            "/new/root": "new",
        },
    ),
    Followed(
        "cluster.md",
        only_parsed={
            "userbert sessions": "tests/test_cluster.py runs nights on such a cluster",
            "userbert history-server": UNTIL_CTRL_C,
            "cat conf": "it writes below /etc",
            "export SPARK_CONF_DIR=/etc": "the file is not written here",
        },
    ),
    Followed(
        "object-store.md",
        only_parsed=dict.fromkeys(
            ("make object-store", "export", "userbert browsing-logs", "userbert summary"),
            "there is no bucket: tests/test_object_store_readers.py reads a lake on moto's S3",
        ),
    ),
    Followed("sizing.md"),
    Followed(
        "pseudonyms.md",
        words={
            "/etc/userbert/pseudonyms.keys": "old.keys",
            "OLD": "old.keys",
            "NEW": "new.keys",
        },
        only_parsed={
            "userbert pseudonyms rotate": "the tiny lake has no pseudonyms: make test-pseudonyms"
        },
    ),
)
# Pages whose commands another test runs, or which have none.
ELSEWHERE = {
    "analysts.md": "tests/test_guides.py",
    "feature-store.md": "tests/test_guides.py",
    "training.md": "tests/test_guide_commands.py",
    "backfill.md": "tests/test_guide_commands.py",
    "sql-cookbook.md": "tests/test_sql_cookbook.py",
    "generated-logs.md": "trainings of minutes, which tests/test_guides.py parses",
}
STARTS = ("userbert", "make", "git", "cp", "mkdir", "export", "cat", "eval", "airflow", "python -m")


def lines_of(page):
    """The lines of a page's indented blocks that a reader would type, without `.venv/bin/`."""
    text = page_text(page).replace("\\\n", " ")
    typed = rf"(?:[A-Z_]+=\S+ )?(?:\.venv/bin/)?(?:{'|'.join(STARTS)}) .+"
    lines = re.findall(rf"^ {{4,8}}({typed})$", text, re.M)
    return [re.sub(r"\s+#.*", "", line.replace(".venv/bin/", "")) for line in lines]


class Reader:
    """Somebody who types a guide's lines in a folder."""

    def __init__(self, folder, guide, monkeypatch, capfd):
        self.folder, self.guide, self._monkeypatch, self._capfd = folder, guide, monkeypatch, capfd

    def types(self, line):
        begins = [begin for begin in self.guide.only_parsed if line.startswith(begin)]
        words = [self.guide.words.get(word, word) for word in shlex.split(self._expanded(line))]
        while re.fullmatch(r"[A-Z_]+=.*", words[0]):
            name, _, value = words.pop(0).partition("=")
            self._monkeypatch.setenv(name, str(self.folder / self.guide.words.get(value, value)))
        if begins:
            if words[0] == "userbert":
                parse(words[1:])
            return
        if words[0] == "export":
            name, _, value = words[1].partition("=")
            self._monkeypatch.setenv(name, value)
        elif words[0] == "userbert":
            code = main(words[1:])
            printed = self._capfd.readouterr()
            wanted = [c for begin, c in self.guide.code.items() if line.startswith(begin)]
            assert code == (wanted or [0])[0], (line, printed.out, printed.err)
            assert (printed.out + printed.err).strip(), line
        else:
            program = [sys.executable, *words[1:]] if words[0] == "python" else words
            done = subprocess.run(program, capture_output=True, text=True, check=False)
            assert done.returncode == 0, (line, done.stderr)

    def _expanded(self, line):
        """What a shell would make of it."""
        return line.replace("$PWD", str(self.folder)).replace("$PATH", os.environ["PATH"])


def write_exports(folder):
    """A thousand lines of a reader's own, of seven days in one file."""
    (folder / "exports").mkdir()
    start = datetime(2026, 1, 25)
    lines = [
        f"k{n % 40};{start + timedelta(minutes=10 * n):%d.%m.%Y %H:%M};Tea pot no {n % 9}"
        for n in range(1000)
    ]
    text = "\n".join(["Kunden-Nr.;Zeit;Artikel Name", *lines])
    (folder / "exports/2026-01.csv").write_text(text)


@pytest.fixture
def reader(request, tmp_path, monkeypatch, capfd, spark):
    guide = request.param
    places = Places(tmp_path / guide.root)
    write_demo(places)
    write_exports(tmp_path)
    own_path = f"{REPOSITORY}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
    monkeypatch.setenv("PYTHONPATH", own_path)
    monkeypatch.setenv("USERBERT_DATA", str(places.root))
    monkeypatch.chdir(tmp_path)
    return Reader(tmp_path, guide, monkeypatch, capfd)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("reader", GUIDES, ids=lambda guide: guide.page, indirect=True)
def test_every_line_of_the_guide_does_what_it_says(reader):
    lines = lines_of(reader.guide.page)
    assert lines
    for line in lines:
        reader.types(line)
    unused = {*reader.guide.only_parsed, *reader.guide.code}
    assert [begin for begin in unused if not any(line.startswith(begin) for line in lines)] == []


def test_every_guide_with_commands_is_followed():
    followed = {guide.page for guide in GUIDES} | set(ELSEWHERE)
    pages = {path.name for path in DOCS.glob("*.md") if lines_of(path.name)}
    assert pages <= followed
