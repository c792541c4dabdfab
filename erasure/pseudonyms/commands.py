"""Pseudonyms in the place of users' ids: keys, and their rotation (docs/pseudonyms.md).

userbert pseudonyms new-key FILE                  make a key file (0600) outside of the data root
userbert pseudonyms new-key NEW --after OLD       the keys of OLD and a new one, for a rotation
userbert pseudonyms rotate --to NEW               bring the lake from OLD to NEW; pause the DAGs

landing/settings.toml names the columns and the key file under [pseudonyms]. No command prints a
key.
"""

import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from contracts.paths import Places
from contracts.settings.key_ring import read_key_file, write_new_key
from contracts.terminal.command_line import command_group

app = command_group(__doc__)


@app.command("new-key")
def new_key(
    path: Annotated[Path, typer.Argument(metavar="FILE", help="The key file to make.")],
    after: Annotated[
        Path | None,
        typer.Option(
            "--after", metavar="FILE", help="A key file whose keys come before the new one."
        ),
    ] = None,
) -> None:
    """Make a key file that its owner alone can read; print the fingerprint of its keys."""
    ring = write_new_key(path, read_key_file(after) if after else None)
    sys.stdout.write(
        f"{path}: {len(ring.keys)} keys, fingerprint {ring.fingerprint}\n"
        "Keep a copy where no copy of the lake is: without it no landing line can be ingested "
        "again, and nobody can be found by an id.\n"
    )


@app.command()
def rotate(
    to: Annotated[
        Path,
        typer.Option("--to", metavar="FILE", help="A key file that begins with the lake's keys."),
    ],
) -> None:
    """Give every user a newer pseudonym, in all tables, the online store and logs.

    No raw id is needed. Older versions of the tables go, and with them time travel; models stay.
    Run it again after a kill. Afterwards landing/settings.toml must name the new key file.
    """
    ring, places = read_key_file(to), Places.from_environment()
    from erasure.pseudonyms.rotation import RotationSteps, plan_rotation, read_note
    from spark_jobs.lake.lake import Lake
    from spark_jobs.spark.session import session

    # No event log: a plan may show pseudonyms of before.
    lake = Lake(session("rotate", logged=False), places.lake)
    rotation = plan_rotation(lake, places, ring)
    if rotation is None:
        sys.stdout.write("nothing to do: the lake is of these keys already\n")
        return
    work = RotationSteps(places, lake, rotation)
    if not read_note(places):
        work.begin()
    for name, step in work.steps():
        began = time.monotonic()
        sys.stdout.write(f"{name}: {step()} ({time.monotonic() - began:.1f} s)\n")
        sys.stdout.flush()
    sys.stdout.write(f'now let landing/settings.toml say key_file = "{to.absolute()}"\n')
