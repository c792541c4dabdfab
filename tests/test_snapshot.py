"""A copy of a data root, and a data root out of it."""

import hashlib
import json
import shutil
import stat
from pathlib import Path

import pytest
from small_lake import write
from test_audit import SOUND

from analyst import open_lake
from contracts.paths import Places
from userbert.cli import main


@pytest.fixture
def root(tmp_path, monkeypatch):
    places = Places(tmp_path / "root")
    for name, rows in SOUND.items():
        write(places, name, rows)
    for name in ("models/m1/manifest.json", "gates/accepted/2026-01-05.json", "forgotten/key",
                 "labels/age.csv", "landing/settings.toml", "landing/2026-01-05/a.jsonl",
                 "arrays/x/titles.npy", "spark-events/e"):  # fmt: skip
        path = places.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"of {name}\n")
    (places.landing / "settings.toml").unlink()
    (places.landing / "gates.toml").write_text("[views]\nlow = 0.2\n")
    monkeypatch.setenv("USERBERT_DATA", str(places.root))
    return places.root


def files(root):
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in root.rglob("*")
        if path.is_file()
    }


def counts(root):
    with open_lake(Places(root)) as lake:
        return {name: lake.sql(f"SELECT count(*) FROM {name}").fetchone()[0] for name in SOUND}


def test_a_snapshot_becomes_a_data_root_at_another_path(root, tmp_path, monkeypatch, capsys):
    copy, new = tmp_path / "copy", tmp_path / "elsewhere" / "new root"
    assert main(["snapshot", str(copy)]) == 0
    assert "9 tables" in capsys.readouterr().out
    held = files(copy)
    assert {name for name in files(root) if name not in held} == {
        "arrays/x/titles.npy", "spark-events/e", "landing/2026-01-05/a.jsonl"
    }  # fmt: skip
    assert stat.S_IMODE(copy.stat().st_mode) == 0o700
    before = counts(root)
    shutil.rmtree(root)
    monkeypatch.setenv("USERBERT_DATA", str(new))
    assert main(["restore", str(copy)]) == 0
    assert f"{new} is as it was at" in capsys.readouterr().out
    assert counts(new) == before
    assert files(new) == {name: sha for name, sha in held.items() if name != "snapshot.json"}
    assert main(["restore", str(copy)]) == 2
    assert f"{new} is not empty: name a new folder" in capsys.readouterr().err


def test_landing_files_are_copied_when_they_are_asked_for(root, tmp_path):
    assert main(["snapshot", str(tmp_path / "copy"), "--landing"]) == 0
    assert "landing/2026-01-05/a.jsonl" in files(tmp_path / "copy")


def test_a_table_is_copied_at_the_version_that_was_newest(root, tmp_path):
    from userbert.commands.snapshot import _wanted_files

    write(Places(root), "titles", SOUND["titles"])
    names = {name for _, name in _wanted_files(Places(root), {"titles": 0}, False)}
    assert f"lake/titles/_delta_log/{0:020}.json" in names
    assert f"lake/titles/_delta_log/{1:020}.json" not in names


def test_what_is_wrong_is_one_line_and_nothing_is_left(root, tmp_path, monkeypatch, capsys):
    def refused(code, *words):
        assert main(list(words)) == code
        return capsys.readouterr().err

    copy = tmp_path / "copy"
    assert "lies in the data root" in refused(2, "snapshot", str(root / "copy"))
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    assert "is not empty" in refused(2, "snapshot", str(tmp_path / "full"))
    assert "is no snapshot" in refused(2, "restore", str(tmp_path / "full"))
    assert main(["snapshot", str(copy)]) == 0
    monkeypatch.setenv("USERBERT_DATA", str(tmp_path / "new"))
    label = copy / "labels" / "age.csv"
    label.write_text("changed")
    line = refused(1, "restore", str(copy))
    assert "1 files of" in line
    assert "labels/age.csv" in line
    manifest = copy / "snapshot.json"
    facts = json.loads(manifest.read_text())
    facts["files"]["../outside"] = facts["files"].pop("labels/age.csv")
    manifest.write_text(json.dumps(facts))
    assert "names a file outside of its folder" in refused(2, "restore", str(copy))
    manifest.write_text("{}")
    assert "is damaged" in refused(2, "restore", str(copy))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["copy", "full", "root"]


def test_a_lake_with_a_broken_rule_has_a_copy_and_comes_back_as_it_was(
    root, tmp_path, monkeypatch, capsys
):
    write(Places(root), "titles", SOUND["titles"])  # the same title twice
    copy = tmp_path / "copy"
    assert main(["snapshot", str(copy)]) == 0
    assert "it breaks what the lake broke: titles: no title_id twice" in capsys.readouterr().out
    monkeypatch.setenv("USERBERT_DATA", str(tmp_path / "new"))
    assert main(["restore", str(copy)]) == 0
    assert "what the lake broke: titles: no title_id twice" in capsys.readouterr().out
    shutil.rmtree(tmp_path / "new")
    facts = json.loads((copy / "snapshot.json").read_text())
    (copy / "snapshot.json").write_text(json.dumps(facts | {"broken_rules": {}}))
    assert main(["restore", str(copy)]) == 1
    assert "rules of `userbert audit` that hold of the lake" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


def test_a_copy_without_a_data_file_is_not_kept(root, tmp_path):
    (part, *_) = (root / "lake" / "sessions").glob("**/*.parquet")
    Path(part).unlink()
    assert main(["snapshot", str(tmp_path / "copy")]) != 0
    assert [path.name for path in tmp_path.iterdir()] == ["root"]
