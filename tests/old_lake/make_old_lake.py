"""Make tests/old_lake/lake.tar.gz: a small lake as the code of an older commit wrote it.

In a checkout of that commit (the fixture's is 9315fa0), with this repository's environment:

    PYTHONPATH=$PWD python .../tests/old_lake/make_old_lake.py .../tests/old_lake/lake.tar.gz

Forty users view pages on three days; a history of two days trains a model, and a night embeds and
publishes the third. Only the lake's tables are packed.
"""

import json
import os
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

USERBERT = [sys.executable, "-m", "userbert.cli"]
SETTINGS = """format = "jsonl"
[columns]
user_id = "user"
event_time = "at"
title = "title"
host = "site"
"""
NUM_USERS = 40  # of fewer, pre-training holds out none to measure by
TITLES = ("Red Shoes", "green tea", "Blue Hats, on sale", "tea for two", "shoes and hats")


def landing_lines(day):
    """Each user has a session in the morning and one in the evening; one line is broken."""
    for user in range(NUM_USERS):
        for hour in (8, 20):
            for view in range(3):
                title = TITLES[(user + hour + view + day) % len(TITLES)]
                at = f"2017-01-{day:02}T{hour:02}:{user:02}:{view:02}Z"
                yield {"user": f"u{user}", "at": at, "title": title, "site": "shop.example"}
    yield {"user": "u0", "at": "yesterday", "title": "tea", "site": "shop.example"}


def write_landing_files(root):
    landing = root / "landing"
    for day in (1, 2, 3):
        folder = landing / f"2017-01-{day:02}"
        folder.mkdir(parents=True)
        lines = [json.dumps(line) + "\n" for line in landing_lines(day)]
        (folder / "views.jsonl").write_text("".join(lines))
    (landing / "settings.toml").write_text(SETTINGS)


def run(*words):
    done = subprocess.run([*USERBERT, *words], check=True, stdout=subprocess.PIPE, text=True)
    return done.stdout.splitlines()[-1]


def make(root):
    write_landing_files(root)
    run("browsing-logs", "--from-day", "2017-01-01", "--to-day", "2017-01-02")
    run("titles")
    run("sessions")
    run("sequence-pairs", "--as-of", "2017-01-03")
    model_id = run("pretrain", "--as-of", "2017-01-03", "--preset", "smoke")
    run("models", "register", model_id)
    run("models", "promote", model_id)
    run("browsing-logs", "--from-day", "2017-01-03", "--to-day", "2017-01-03")
    run("titles")
    run("sessions")
    for command in ("user-sequences", "user-embeddings", "published-embeddings"):
        run(command, "--as-of", "2017-01-04")


def pack(lake, target):
    """Without Hadoop's checksums, which no reader needs, and without this machine's names."""

    def anonymous(file):
        file.uid = file.gid = 0
        file.uname = file.gname = ""
        return None if file.name.endswith(".crc") else file

    with tarfile.open(target, "w:gz") as packed:
        packed.add(lake, "lake", filter=anonymous)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        os.environ["USERBERT_DATA"] = folder
        make(Path(folder))
        pack(Path(folder) / "lake", sys.argv[1])
