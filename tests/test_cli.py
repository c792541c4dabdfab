import ast
import subprocess
import sys
from pathlib import Path

import pytest

from userbert.cli import COMMANDS, find, main, overview

ROOT = Path(__file__).parents[1]
HEAVY = {"pyspark", "torch", "feast", "great_expectations", "pandas", "airflow", "numpy"}
MAY_IMPORT = {
    "analyst": {"contracts", "model"},
    "contracts": set(),
    "landing": {"contracts"},
    "expectations": {"contracts"},
    "feature_store": {"contracts"},
    "model": {"contracts"},
    "spark_jobs": {"contracts", "expectations", "model"},
    "dags": {"contracts", "userbert"},
}
OURS = {*MAY_IMPORT, "userbert", "experiments", "benchmarks"}


def test_help_lists_every_command_and_imports_nothing_heavy():
    code = "import sys; from userbert.cli import main; main(['--help']); print(*sys.modules)"
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, cwd=ROOT, check=True, text=True
    )
    assert all(name in run.stdout for name in COMMANDS)
    assert HEAVY.isdisjoint(run.stdout.splitlines()[-1].split())


def test_a_command_of_two_words_is_found_before_its_flags():
    assert find(["logs", "generate", "--users", "3"]) == ("logs generate", ["--users", "3"])
    assert find(["titles"]) == ("titles", [])


def test_an_unknown_command_says_what_there_is(capsys):
    with pytest.raises(SystemExit) as stopped:
        find(["logs", "steal"])
    assert stopped.value.code == 2
    assert "logs demo, logs mind, logs generate" in capsys.readouterr().err


def test_a_missing_input_is_one_line_and_its_own_exit_code(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("USERBERT_DATA", str(tmp_path))
    assert main(["run", "--source", "landing"]) == 2
    assert "settings.toml" in capsys.readouterr().err
    assert main(["run", "--nights", "0"]) == 2
    assert "0 nights do not fit" in capsys.readouterr().err


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_tells_its_flags(name, capsys):
    with pytest.raises(SystemExit) as stopped:
        main([*name.split(), "--help"])
    assert stopped.value.code == 0
    assert f"userbert {name}" in capsys.readouterr().out


def test_the_overview_names_the_exit_codes():
    assert "3 a gate said no" in overview()


def imports(path):
    """The top-level packages of ours that a file imports, wherever in the file."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield node.module.split(".")[0]
        elif isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_imports_go_one_way(package):
    for path in (ROOT / package).glob("**/*.py"):
        foreign = set(imports(path)) & OURS - {package}
        assert foreign <= MAY_IMPORT[package], path


def test_the_model_knows_no_spark():
    for path in (ROOT / "model").glob("**/*.py"):
        assert not {"pyspark", "delta"} & set(imports(path)), path
