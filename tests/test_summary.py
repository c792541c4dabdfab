"""`userbert summary`: one line where there is no lake, and a process that ends well."""

import json
import os
import shutil
import subprocess
import sys
from datetime import date
from pathlib import Path

import pytest
from deltalake import DeltaTable, write_deltalake
from small_lake import embedding, publish, write

from contracts.forecasts import FORECAST_NAMES
from contracts.paths import Places
from userbert.cli import main

ROOT = Path(__file__).parents[1]
EXITS = 50


@pytest.fixture
def root(places):
    publish(places, [embedding(user, date(2026, 1, 5), [1]) for user in ("ann", "bob")])
    write(places, "models", [{"model_id": "[b]m1[/b]", "status": "champion", "measures": "{}"}])
    reasons = [["blank title"], [":x: [/odd] reason", "blank title"]]
    write(places, "rejected_logs", [{"reasons": each} for each in reasons])
    return places.root


def test_a_root_without_a_lake_is_one_line_and_exit_code_4(tmp_path, monkeypatch, capsys):
    for root in (tmp_path, tmp_path / "nowhere"):
        monkeypatch.setenv("USERBERT_DATA", str(root))
        assert main(["summary"]) == 4
        printed = capsys.readouterr()
        assert printed.out == ""
        assert printed.err.count("\n") == 1
        assert f"there is no table below {root}/lake" in printed.err


def test_it_prints_names_and_reasons_as_they_are(root, monkeypatch, capsys):
    monkeypatch.setenv("USERBERT_DATA", str(root))
    assert main(["summary"]) == 0
    out = capsys.readouterr().out
    assert "[b]m1[/b]" in out
    assert "(blank title: 2, :x: [/odd] reason: 1)" in out
    assert "published as of 2026-01-05: 2 users" in out
    assert main(["summary", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["refused"]["blank title"] == 2


def test_it_names_the_forecasts_of_the_newest_day(root, monkeypatch, capsys):
    monkeypatch.setenv("USERBERT_DATA", str(root))
    for user, numbers in (("ann", (0.5, 0.1, 10, 4, 9)), ("bob", (1, 0.3, 20, 2, 2))):
        row = dict(zip(FORECAST_NAMES, numbers, strict=True))
        publish(Places(root), [embedding(user, date(2026, 1, 6), [1], **row)])
    assert main(["summary"]) == 0
    out = capsys.readouterr().out
    assert "forecast as of 2026-01-06 of 2 users: on average 15.0 views in 28 days" in out
    assert "a chance of 20.0% of none" in out
    assert main(["summary", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["forecasts"]["sessions_28_days"] == 3


def test_a_table_of_older_code_that_lacks_a_column_is_no_fault(root, monkeypatch, capsys):
    monkeypatch.setenv("USERBERT_DATA", str(root))
    folder = root / "lake" / "models"
    rows = DeltaTable(str(folder)).to_pyarrow_table()
    shutil.rmtree(folder)
    write_deltalake(str(folder), rows.drop_columns(["space_id"]))
    assert main(["summary"]) == 0
    assert "[b]m1[/b]" in capsys.readouterr().out


def test_a_damaged_file_is_one_line(root, monkeypatch, capsys):
    monkeypatch.setenv("USERBERT_DATA", str(root))
    (data,) = (root / "lake" / "models").glob("*.parquet")
    commit = root / "lake" / "titles"
    commit = root / "lake" / "published_embeddings" / "_delta_log" / f"{0:020d}.json"
    for path, content in ((data, b""), (commit, b""), (commit, commit.read_bytes()[:99])):
        whole = path.read_bytes()
        path.write_bytes(content)
        assert main(["summary"]) == 2
        err = capsys.readouterr().err
        assert f"{path} is damaged" in err
        assert err.count("\n") == 1
        path.write_bytes(whole)


def test_processes_that_read_small_tables_end_well(root):
    """With delta-rs's own file system, which is Python called from Arrow's threads, 9 of 50 ends
    were aborts: "terminate called without an active exception"."""
    code = f"""if True:
        import os, sys
        import deltalake, pyarrow.dataset, pyarrow.fs
        from contracts.paths import Places
        from userbert.commands.summary import _models, _refused_lines
        children = []
        for _ in range({EXITS}):
            child = os.fork()
            if not child:
                break
            children.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        else:
            print(sum(code != 0 for code in children), len(children))
            raise SystemExit
        for _ in range(3):  # a child, which then ends as any process does
            _models(Places.from_environment()), _refused_lines(Places.from_environment())
    """
    environment = {**os.environ, "USERBERT_DATA": str(root), "PYTHONPATH": str(ROOT)}
    run = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        env=environment,
        capture_output=True,
        check=True,
        text=True,
    )
    assert run.stdout == f"0 {EXITS}\n"
