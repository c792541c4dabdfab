"""The guides' commands are run, one after the other, on a tiny lake: docs/ says what works."""

import os
import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from guide_commands import Guide, follow
from small_backfill import session
from small_corpus import DAY, INTERESTS, TITLES_AN_INTEREST, write_interests
from small_lake import embedding, publish, write
from test_guides import parse

from contracts.paths import Places
from contracts.terminal.command_line import parse_options
from model.training.pretrain import run_pretraining
from spark_jobs.lake.lake import Lake
from spark_jobs.registry.model_status import with_champion
from spark_jobs.registry.registration import model_from_folder
from spark_jobs.tables.models import change_models
from userbert.cli import main

NUM_USERS = 120  # an alignment needs 100 of them
NIGHTS = [DAY]
TINY = "--width 256 --threads 1"
IN_A_PROCESS_OF_ITS_OWN = "launch"  # it becomes the training
NAMES = {}  # of models, once they are trained
GUIDES = (
    Guide(
        "training.md",
        words={"2017-06-30": str(DAY), "small": "tiny"},
        more={
            "userbert pretrain --as-of": TINY,
            "userbert launch": TINY,
            "userbert models align": "--least-cosine 0",
            "userbert evaluate negatives": "--preset tiny --steps 1 --cooldown-steps 0 --seeds 2",
        },
        only_parsed={"torchrun": "it takes two machines of four GPUs"},
    ),
    Guide("backfill.md", words={"2017-06-01": str(NIGHTS[0]), "2017-06-30": str(NIGHTS[-1])}),
)


def active(night):
    return [n for n in range(NUM_USERS) if n % 3 == night.day % 3]


@pytest.fixture(scope="module")
def places(spark, tmp_path_factory):
    """Users with views and a champion, whose vectors of two nights are published."""
    places = Places(tmp_path_factory.mktemp("followed") / "data")
    write_interests(places, users=NUM_USERS)
    views = [(n, DAY - timedelta(days=9)) for n in range(NUM_USERS)]
    views += [(n, night - timedelta(days=1)) for night in NIGHTS for n in active(night)]
    rows, logs = [], []
    for user, day in views:
        titles = [100 * (user % INTERESTS) + (user + n) % TITLES_AN_INTEREST for n in range(5)]
        noon = datetime(day.year, day.month, day.day, 12) + timedelta(seconds=user)
        rows.append(session(user, noon, *titles))
        logs += [{**rows[-1], "event_date": day, "title_id": title} for title in titles]
    write(places, "sessions", rows)
    write(places, "browsing_logs", logs)
    options = ["--as-of", str(DAY), "--preset", "tiny", "--steps", "0", "--width", "256"]
    os.environ["USERBERT_DATA"] = str(places.root)
    folder = run_pretraining(**parse_options(run_pretraining, [*options, "--threads", "1"]))
    NAMES["OLD"] = folder.name
    old = model_from_folder(folder)
    lake = Lake(spark, places.lake)
    change_models(
        lake, places, "test", lambda now: with_champion({old.model_id: old}, old.model_id, "test")
    )
    publish(
        places,
        [
            embedding(f"u{user:07}", night, [user + 1, 2], model=old.model_id)
            for night in NIGHTS
            for user in active(night)
        ],
    )
    return places


@pytest.fixture
def run(places, monkeypatch, capfd):
    monkeypatch.setenv("USERBERT_DATA", str(places.root))
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1]))
    monkeypatch.chdir(places.root.parent)

    def run(words):
        _, *words = (NAMES.get(word, word) for word in words)
        if words[0] == IN_A_PROCESS_OF_ITS_OWN:
            command = [sys.executable, "-m", "userbert.cli", *words]
            code = subprocess.run(command, check=False).returncode
        else:
            code = main(words)
        printed = capfd.readouterr()
        assert code == 0, (words, printed.err)
        assert printed.out.strip(), words
        if words[0] == "pretrain" and "--help" not in words:
            NAMES["NEW"] = NAMES["MODEL_ID"] = printed.out.split()[-1]
        return printed.out

    return run


def parse_line(words):
    """Of torchrun too: both its own options and those of the training."""
    if words[0] == "torchrun":
        from torch.distributed.run import parse_args

        parse_options(run_pretraining, parse_args(words[1:]).training_script_args)
    else:
        parse(words[1:])


@pytest.mark.parametrize("guide", GUIDES, ids=lambda guide: guide.page)
def test_every_command_of_the_guide_runs_as_it_stands(guide, run):
    printed = dict(follow(guide, run, parse_line))
    assert len(printed) + len(guide.only_parsed) == len(list(guide.lines()))
