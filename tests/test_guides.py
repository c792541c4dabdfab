"""The guides for readers run as they stand, on a small lake with the names of the demo."""

import re
from contextlib import suppress
from datetime import date

import pytest
from guide_commands import DOCS, page_text, userbert_lines
from small_demo import SATURDAY, USERS, write_demo
from typer import Exit, TyperException

from contracts.paths import Places
from userbert.cli import main, root_command


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """Users of the demo with vectors of both nights, and the model that made them."""
    places = Places(tmp_path_factory.mktemp("guides"))
    write_demo(places)
    return places


@pytest.fixture
def run(places, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("USERBERT_DATA", str(places.root))
    monkeypatch.chdir(tmp_path)

    def run(words):
        code = main(words)
        printed = capsys.readouterr()
        assert (code, printed.err) == (0, ""), words
        return printed.out

    return run


def test_the_python_of_the_analysts_guide_runs_from_top_to_bottom(places, monkeypatch):
    monkeypatch.setenv("USERBERT_DATA", str(places.root))
    blocks = re.findall(
        r"^```python\n(.+?)^```$", page_text("analysts.md"), re.DOTALL | re.MULTILINE
    )
    assert len(blocks) == 4
    names = {}
    for block in blocks:
        exec(block, names)
    assert names["old"].cosine(names["new"]).shape == (len(USERS),)


def test_the_commands_of_the_analysts_guide_answer(run, tmp_path):
    lines = userbert_lines("analysts.md")
    questions = {words[0] for words in lines}
    assert questions == {
        "neighbors",
        "clusters",
        "cohort",
        "drift",
        "coverage",
        "explain",
        "forecast",
        "explore",  # which serves a page until somebody ends it: tests/test_explorer.py
        "export",
        "sql",
    }
    for words in lines:
        if words[0] != "explore":
            assert run(words).strip(), words
    assert (tmp_path / "drift.svg").stat().st_size > 1000
    assert (tmp_path / "vectors.parquet").stat().st_size > 1000


@pytest.mark.filterwarnings("ignore")
def test_the_commands_of_the_feature_stores_guide_answer(places, tmp_path, monkeypatch, capfd):
    monkeypatch.setenv("USERBERT_DATA", str(places.root))
    monkeypatch.chdir(tmp_path)
    page = page_text("feature-store.md")
    (rows,) = re.findall(r"^ {4}(user_id,event_timestamp.+?)\n\n", page, re.DOTALL | re.MULTILINE)
    (tmp_path / "rows.csv").write_text(re.sub(r"^ {4}", "", rows, flags=re.MULTILINE))
    lines = userbert_lines("feature-store.md")
    actions = [words[1] for words in lines]
    assert actions == ["apply", "materialize", "check", "get", "history", "history", "refresh"]
    for words in lines:
        assert main(words) == 0, (words, capfd.readouterr().err)
        assert capfd.readouterr().out.strip(), words
    assert (tmp_path / "features.parquet").stat().st_size > 1000


def test_every_day_of_the_guides_is_one_of_the_demo():
    for name in ("analysts.md", "feature-store.md", "sql-cookbook.md"):
        days = set(map(date.fromisoformat, re.findall(r"\b2\d{3}-\d\d-\d\d\b", page_text(name))))
        assert days
        assert max(days) <= SATURDAY, name
        assert min(days) >= date(2017, 1, 1), name


PLACEHOLDERS = {"DAY": "2017-06-30", "FIRST": "2017-06-01", "LAST": "2017-06-30"}


def parse(words):
    """Raises where a command or an option is unknown, or one that it needs is missing."""
    command, path = root_command(), []
    words = [PLACEHOLDERS.get(word, word) for word in words]
    while words and getattr(command, "commands", None):
        command = command.commands[words.pop(0)]
        command = command.loaded() if hasattr(command, "loaded") else command
        path.append(command.name)
    with suppress(Exit), command.make_context(" ".join(map(str, path)), words):
        pass  # a line that asks for help has it, and is right


def test_each_command_of_a_guide_is_one_that_userbert_has():
    """In a line of its own or in a sentence, where it may lack what it needs."""
    wrong, seen = [], set()
    for path in DOCS.glob("*.md"):
        sentences = re.findall(r"`userbert ([a-z][^`\n]+ --[^`]+)`", path.read_text())
        sentences = [line for line in sentences if "COMMAND" not in line]
        for words in [*userbert_lines(path.name), *map(str.split, sentences)]:
            seen.add(path.name)
            words = [word for word in words if word != "--help"]  # it ends the parsing
            try:
                parse(words)
            except KeyError as error:
                wrong.append((path.name, words, f"no command {error}"))
            except TyperException as error:
                if "No such option" in error.format_message():
                    wrong.append((path.name, words, error.format_message()))
    assert wrong == []
    assert {"your-logs.md", "schedule.md"} <= seen  # whose lines stand in a list
    assert {"training.md", "backfill.md", "analysts.md", "feature-store.md"} <= seen


def test_each_command_that_a_sentence_names_is_one_that_userbert_has():
    """In backticks, with or without options: `userbert models judge MODEL_ID`."""
    wrong = []
    for path in (*DOCS.rglob("*.md"), DOCS.parent / "README.md"):
        for named in re.findall(r"`userbert ([a-z][^`]*)`", path.read_text()):
            command, words = root_command(), named.split()
            while words and getattr(command, "commands", None):
                word = words.pop(0)
                if not re.fullmatch(r"[a-z-]+", word) or word.startswith("-"):
                    break
                if word not in command.commands:
                    wrong.append((path.name, named))
                    break
                command = command.commands[word]
                command = command.loaded() if hasattr(command, "loaded") else command
    assert wrong == []


def test_each_file_that_a_guide_names_is_there():
    """Where an equation is in the code, which example a guide starts from."""
    folders = "analyst|benchmarks|conf|contracts|dags|downstream|erasure|expectations|experiments"
    folders += "|explorer|feature_store|landing|model|spark_jobs|tests|userbert"
    for path in DOCS.glob("*.md"):
        named = re.findall(
            rf"`((?:{folders})/[a-z0-9_/.-]+\.(?:py|toml|conf|yaml|sh))`", path.read_text()
        )
        gone = [name for name in named if not (DOCS.parent / name).exists()]
        of_a_root = {f"landing/{name}.toml" for name in ("settings", "arrival", "gates")}
        assert {*gone} <= of_a_root, path.name
