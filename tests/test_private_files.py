"""Who may read what the pipeline writes, and what it does not read."""

import os
import re
import stat
import subprocess
import sys
from datetime import date
from pathlib import Path

import pytest

from contracts.errors import BadInput
from contracts.landing_settings import LandingSettings
from spark_jobs.ingest.landing_files import landing_parts

DAY = date(2017, 3, 1)
COLUMNS = {"user_id": "user", "event_time": "time", "title": "title"}
ROOMS = ("analyst", "contracts", "dags", "downstream", "erasure", "expectations", "experiments",
         "explorer", "feature_store", "landing", "model", "spark_jobs", "userbert")  # fmt: skip


def generate(root, **environment):
    return subprocess.run(
        [sys.executable, "-m", "userbert.cli", "logs", "generate", "--users", "5", "--days", "1",
         "--seed", "1"],
        env=os.environ | {"USERBERT_DATA": str(root)} | environment,
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def modes(root):
    return {(path.is_dir(), stat.S_IMODE(path.stat().st_mode)) for path in (root, *root.rglob("*"))}


def test_what_a_command_writes_is_for_its_owner_alone_unless_the_installation_says_otherwise(
    tmp_path,
):
    assert generate(tmp_path / "own").returncode == 0
    assert modes(tmp_path / "own") == {(True, 0o700), (False, 0o600)}
    assert generate(tmp_path / "group", USERBERT_UMASK="027").returncode == 0
    assert modes(tmp_path / "group") == {(True, 0o750), (False, 0o640)}
    refused = generate(tmp_path / "wrong", USERBERT_UMASK="99")
    assert refused.returncode == 2
    assert "USERBERT_UMASK is '99': say three octal digits" in refused.stderr
    assert refused.stderr.count("\n") == 1


@pytest.mark.parametrize("is_folder", [False, True])
def test_a_link_in_the_landing_folder_is_refused_unless_the_settings_follow_it(tmp_path, is_folder):
    elsewhere = tmp_path / "elsewhere" / "secret.jsonl"
    elsewhere.parent.mkdir()
    elsewhere.write_text('{"user": "u", "time": "2017-03-01T00:00:00Z", "title": "t"}\n')
    folder = tmp_path / "landing" / str(DAY)
    if is_folder:
        folder.parent.mkdir()
        folder.symlink_to(elsewhere.parent)
    else:
        folder.mkdir(parents=True)
        (folder / "views.jsonl").symlink_to(elsewhere)
    settings = LandingSettings(format="jsonl", columns=COLUMNS)
    with pytest.raises(BadInput, match=r'is a symbolic link: .* symlinks = "follow"'):
        landing_parts(tmp_path / "landing", [DAY], settings, False)
    follow = settings.model_copy(update={"symlinks": "follow"})
    assert len(landing_parts(tmp_path / "landing", [DAY], follow, False)) == 1


def test_no_room_reads_a_pickle():
    """A pickle runs the code of whoever wrote it. numpy reads none unless it is asked to."""
    risky = re.compile(
        r"import pickle|pickle\.loads?\(|torch\.load\(|allow_pickle=True|joblib|dill"
    )
    root = Path(__file__).parents[1]
    found = [
        str(path.relative_to(root))
        for room in ROOMS
        for path in (root / room).rglob("*.py")
        if risky.search(path.read_text(encoding="utf-8"))
    ]
    assert found == []
