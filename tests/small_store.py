"""Nights, a backfill and a promotion on S3 by the commands that people and DAGs run."""

import os
from contextlib import contextmanager

from small_s3 import KEY_ID, SECRET

from contracts.storage.delta_reading import arrow_dataset, open_delta_table
from spark_jobs.spark.session import session
from userbert.cli import main

BUCKET = "lake"
STORE = f"s3a://{BUCKET}/lake"
# Columns that tell of a run, and not of the data.
_OF_A_RUN = {
    *("created_at", "status_changed_at", "status_reason", "path", "code_version", "inputs"),
    *("written_at", "measures"),
}
_NOBODY_JUDGES = ("--force", "--reason", "nobody judges an untrained model")


def done(*words):
    assert main(list(map(str, words))) == 0, words


@contextmanager
def environment(**names):
    """These variables, and afterwards those of before; None is no variable."""
    before = {name: os.environ.get(name) for name in names}
    for each in (names, before):
        for name, value in each.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value
        if each is names:
            yield


def let_spark_ask(spark):
    """A JVM that began before there was a store has no keys in its environment."""
    hadoop = spark._jsc.hadoopConfiguration()
    hadoop.set("fs.s3a.access.key", KEY_ID)
    hadoop.set("fs.s3a.secret.key", SECRET)
    session("tests")  # and its session does not know where the store is


def make_views(first, last):
    done("browsing-logs", "--from-day", first, "--to-day", last)
    done("titles")
    done("sessions")


def make_night(landed, as_of):
    """What the nightly DAG runs for a landing day, the one before `as_of`."""
    make_views(landed, landed)
    for command in ("user-sequences", "user-embeddings", "published-embeddings"):
        done(command, "--as-of", as_of)


def replace_model(new):
    """Give the published days the vectors of another model, and make it the champion."""
    done("models", "register", new)
    done("backfill", "run", "--published", "--model", new)
    done("models", "promote", new, *_NOBODY_JUDGES)


def first_model(model):
    done("models", "register", model)
    done("models", "promote", model, *_NOBODY_JUDGES)


def rows(lake, table):
    """The table's rows as sorted text, but for the columns that tell of a run; None: no table."""
    path = f"{lake}/{table.name}"
    if (opened := open_delta_table(path)) is None:
        return None
    kept = [name for name in table.names if name not in _OF_A_RUN]
    return sorted(map(repr, arrow_dataset(opened, path).to_table().select(kept).to_pylist()))
