import os
import subprocess
import sys
from datetime import date
from importlib.metadata import version
from pathlib import Path

import pytest

from contracts.terminal.command_line import Interrupted
from userbert.cli import COMMANDS, main, root_command

ROOT = Path(__file__).parents[1]
HEAVY = {"pyspark", "torch", "feast", "great_expectations", "pandas", "airflow", "numpy"}


def run(*words):
    command = [sys.executable, "-m", "userbert.cli", *words]
    return subprocess.run(command, capture_output=True, cwd=ROOT, check=False, text=True)


def test_help_lists_every_command_and_imports_nothing_heavy():
    code = "import sys; from userbert.cli import main; main(['--help']); print(*sys.modules)"
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, cwd=ROOT, check=True, text=True
    )
    assert all(f"\n  {name.split()[0]} " in run.stdout for name in COMMANDS)
    assert HEAVY.isdisjoint(run.stdout.splitlines()[-1].split())
    assert "3 a gate refused" in run.stdout


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["pretrian"], "No such command 'pretrian'. Did you mean 'pretrain'? `userbert --help`"),
        (
            ["logs", "generat"],
            "userbert logs: UB-101: No such command 'generat'. Did you mean 'generate'?",
        ),
        (
            ["models", "promot"],
            "userbert models: UB-101: No such command 'promot'. Did you mean 'promote'",
        ),
        (["titles", "--forse"], "userbert titles: UB-101: No such option: --forse"),
        (["user-sequences"], "userbert user-sequences: UB-101: Missing option '--as-of'"),
        (["user-sequences", "--as-of", "2017-1-1"], "'2017-1-1' is not a day; write YYYY-MM-DD"),
        (["pretrain", "--as-of", "2017-01-01", "--preset", "huge"], "'huge' is not one of 'paper'"),
        (["gates", "list", "--table", "users"], "'users' is not one of browsing_logs"),
        (["jobs", "--last", "many"], "Invalid value for '--last'"),
    ],
)
def test_words_that_do_not_fit_are_one_line_and_exit_code_2(words, message, capsys):
    assert main(words) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line


def test_a_missing_input_is_one_line_and_its_own_exit_code(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("USERBERT_DATA", str(tmp_path))
    assert main(["run", "--source", "landing"]) == 2
    assert "settings.toml" in capsys.readouterr().err
    assert main(["run", "--nights", "0"]) == 2
    assert "0 nights do not fit" in capsys.readouterr().err


def commands(command, words=()):
    """Every command below `command`, with the words that call it, groups included."""
    loaded = command.loaded() if hasattr(command, "loaded") else command
    yield words, loaded
    for name, each in getattr(loaded, "commands", {}).items():
        yield from commands(each, (*words, name))


def test_every_option_of_every_command_is_explained():
    for words, command in commands(root_command()):
        assert (command.help or "").strip("\b \n"), words
        for param in command.params:
            assert (param.help or "").rstrip("])").endswith((".", "root", "toml", "day")) or (
                "[default" in param.help
            ), (words, param.name, param.help)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_shows_its_help(name, capsys):
    assert main([*name.split(), "--help"]) == 0
    assert f"Usage: userbert {name}" in capsys.readouterr().out
    assert main(["help", *name.split()]) == 0
    assert f"Usage: userbert {name}" in capsys.readouterr().out


def test_no_command_at_all_shows_the_help_and_is_bad_input():
    ended = run()
    assert ended.returncode == 2
    assert "Usage: userbert" in ended.stderr


def test_the_version_is_that_of_the_installed_package(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"userbert {version('userbert')}\n"


def test_a_shell_completes_names_without_importing_their_modules():
    code = "import sys; from userbert.cli import main; main([])"
    words = {"_USERBERT_COMPLETE": "complete_bash", "COMP_WORDS": "userbert lo", "COMP_CWORD": "1"}
    ended = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", code],
        env=os.environ | words, capture_output=True, cwd=ROOT, check=False, text=True,
    )  # fmt: skip
    assert ended.stdout.split() == ["logs"]
    assert "landing" not in ended.stderr


def interrupted(name, monkeypatch):
    def main():
        raise KeyboardInterrupt

    monkeypatch.setattr(f"{COMMANDS[name].module}.main", main)


def test_an_interrupted_command_ends_in_one_line(monkeypatch, capsys):
    interrupted("titles", monkeypatch)
    assert main(["titles"]) == 130
    assert capsys.readouterr().err == "userbert titles: UB-902: interrupted\n"


def test_an_interrupted_backfill_says_how_far_it_came(monkeypatch, places):
    from types import SimpleNamespace

    from userbert.commands.backfill import fill_with_progress

    def run(lake, places, model_id, days, show_total):
        show_total(5)
        for day in days[:3]:
            yield SimpleNamespace(
                day=SimpleNamespace(as_of=day), commits=[], costs=None, seconds=0.1
            )
        raise KeyboardInterrupt

    monkeypatch.setattr("spark_jobs.backfill.days.fill_days", run)
    days = [date(2017, 6, n) for n in range(1, 7)]
    with pytest.raises(Interrupted, match=r"3 of 5 days done; the same command goes on") as stop:
        fill_with_progress(None, places, SimpleNamespace(model_id="m"), days)
    assert stop.value.exit_code == 130


def test_a_reader_that_leaves_ends_the_command_without_a_traceback(tmp_path):
    """`userbert summary --json | head -1`, on more lines than a pipe holds."""
    code = "import sys; from contracts.terminal.command_line import build_command, run_command; "
    code += "from userbert.cli import main; sys.exit(run_command(build_command(lambda: "
    code += "[print('x' * 99) for _ in range(9999)] and None, 'Print.'), [], 'userbert'))"
    writer = subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    writer.stdout.readline()
    writer.stdout.close()
    assert (writer.stderr.read(), writer.wait()) == (b"", 1)


def test_a_missing_library_names_the_extra_that_brings_it(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "feature_store.commands", None)
    monkeypatch.setattr(
        "importlib.import_module", lambda name: exec("import a_library_that_nobody_has")
    )
    assert main(["features", "get", "u1"]) == 1
    assert capsys.readouterr().err == (
        "userbert features: UB-105: the Python module a_library_that_nobody_has is not installed; "
        "install what this command needs: pip install 'userbert[features]'\n"
    )
