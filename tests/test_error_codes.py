"""Every error has a code: the list, the code that raises, and the guide agree."""

import ast
import json
import pickle
import re
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import contracts.terminal.error_codes as constants
from contracts.errors import BadInput, GateFailed, UserbertError
from contracts.storage.damage import DamagedFile
from contracts.terminal.error_codes import (
    UNFORESEEN_ERROR,
    code_for,
    code_of,
    error_codes,
    group_titles,
)
from expectations.failure_message import gate_advice
from userbert.cli import COMMANDS, main
from userbert.reference.__main__ import GENERATED_PAGES

ROOT = Path(__file__).parents[1]


@cache
def modules():
    """Each module of ours as a syntax tree, by its dotted name."""
    listed = ["git", "-c", "safe.directory=*", "ls-files", "*.py"]
    files = subprocess.run(listed, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return {
        path.removesuffix(".py").replace("/", ".").removesuffix(".__init__"): ast.parse(
            (ROOT / path).read_text()
        )
        for path in files.split()
        if path.split("/")[0] not in ("tests", "benchmarks", "setup.py")
    }


@cache
def names_of(module):
    """What the names of a module stand for: (module, class) of each that is imported or made."""
    names = {}
    for node in ast.walk(modules()[module]):
        if isinstance(node, ast.ImportFrom) and node.module in modules():
            names |= {n.asname or n.name: (node.module, n.name) for n in node.names}
        if isinstance(node, ast.ClassDef):
            names[node.name] = (module, node.name)
    return names


@cache
def ancestry(module, name):
    """The class and those above it, if `UserbertError` is among them; else nothing."""
    if (module, name) == ("contracts.errors", "UserbertError"):
        return (name,)
    for node in ast.walk(modules()[module]):
        if isinstance(node, ast.ClassDef) and node.name == name:
            for base in node.bases:
                found = names_of(module).get(getattr(base, "id", ""))
                if found and (above := ancestry(*found)):
                    return (name, *above)
    return ()


def raises() -> Iterator[tuple[str, tuple[str, ...]]]:
    """Each place that makes an error of ours: the module, and the class with those above it."""
    for module, tree in modules().items():
        for node in ast.walk(tree):
            made = node.func if isinstance(node, ast.Call) else None
            for each in ast.walk(made) if isinstance(made, ast.Name | ast.IfExp) else ():
                found = names_of(module).get(each.id) if isinstance(each, ast.Name) else None
                if found and (classes := ancestry(*found)):
                    yield module, classes


def test_every_error_that_is_raised_has_a_code_and_every_code_is_of_an_error():
    places = list(raises())
    assert len(places) > 300
    codes = {(module, classes[0]): code_for(classes, module) for module, classes in places}
    assert [place for place, code in codes.items() if code == UNFORESEEN_ERROR] == []
    by_hand = {value for value in vars(constants).values() if str(value).startswith("UB-")}
    assert set(error_codes()) == set(codes.values()) | by_hand


def test_no_place_of_the_list_is_without_an_error_and_none_is_named_twice():
    named = [place for entry in error_codes().values() for place in entry.raised_by]
    assert sorted(named) == sorted(set(named))
    made = {(f"{module}.", name) for module, classes in raises() for name in classes}
    # The entry of an unforeseen error takes classes of modules that are not written yet.
    unused = [
        place
        for place in set(named) - set(error_codes()[UNFORESEEN_ERROR].raised_by)
        for modules_, _, name in [place.partition(":")]
        if not any(n == name and m.startswith(f"{modules_}." if modules_ else "") for m, n in made)
    ]
    assert unused == []


def test_each_entry_is_whole_and_names_commands_that_there_are():
    wrong = []
    for code, entry in error_codes().items():
        assert re.fullmatch(r"UB-\d{3}", code)
        assert entry.group in group_titles()
        for text in (entry.means, entry.look, entry.mend, entry.call):
            assert text
            assert text[-1] in "`.):" or text.endswith("."), (code, text)
            for line in re.findall(r"`userbert ([a-z][^`]*)`", text):
                words = [word for word in line.split() if not word.startswith("-")]
                if not {words[0], " ".join(words[:2])} & {*COMMANDS, "logs"}:
                    wrong.append((code, line))  # tests/test_guides.py looks at the options
    assert wrong == []


def test_the_guides_have_an_entry_for_every_code_and_every_kind_of_gate():
    """If this fails: `python -m userbert.reference` writes them."""
    troubleshooting, runbook = (
        (ROOT / "docs" / name).read_text() for name in ("troubleshooting.md", "runbook.md")
    )
    for code, entry in error_codes().items():
        assert f"### {code}\n\n**{entry.title}.** {entry.means}\n" in troubleshooting, code
        assert entry.look in troubleshooting, code
        assert f"[{code}]" in runbook, code
        for page in (troubleshooting, runbook):
            assert entry.mend in page, code
            assert entry.call in page, code
    assert set(re.findall(r"^### (UB-\d+)$", troubleshooting, re.M)) == set(error_codes())
    for name, advice in gate_advice().items():
        assert f"{advice.means}\n" in runbook, name
        assert f"What mends it: {advice.mend}\n\nWhom to call: {advice.call}\n" in runbook, name
    assert set(GENERATED_PAGES) == {"troubleshooting.md", "runbook.md"}


def test_a_code_follows_from_the_class_and_the_module_that_raised():
    def raised_in(module, error):
        error.raised_in = module
        return code_of(error)

    assert raised_in("spark_jobs.ingest.landing_files", BadInput("x")) == "UB-201"
    assert (
        raised_in("spark_jobs.ingest.landing_settings_of_tomorrow", BadInput("x"))
        == UNFORESEEN_ERROR
    )
    assert raised_in("analyst.questions.of_tomorrow", BadInput("x")) == "UB-102"
    assert raised_in("contracts.storage.damage", DamagedFile("x")) == "UB-304"
    assert raised_in("expectations.gate", GateFailed("x")) == "UB-401"
    assert UserbertError("x").raised_in == __name__
    error = BadInput("a line")
    error.raised_in = "model.settings.checks"
    sent = pickle.loads(pickle.dumps(error))
    assert (str(sent), code_of(sent)) == ("a line", "UB-103")


def test_the_code_stands_in_the_line_and_in_json(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("USERBERT_DATA", str(tmp_path))
    assert main(["neighbors", "u1"]) == 4
    assert capsys.readouterr().err.startswith("userbert neighbors: UB-301: no model's vectors")
    assert main(["neighbors", "u1", "--json"]) == 4
    printed = capsys.readouterr()
    assert printed.out == ""
    error = json.loads(printed.err)["error"]
    assert (error["code"], error["exit_code"]) == ("UB-301", 4)
    assert error["command"] == "userbert neighbors"
    assert main(["neighbors", "--json", "--no-such-flag"]) == 2
    assert json.loads(capsys.readouterr().err)["error"]["code"] == "UB-101"


@pytest.mark.parametrize(
    "words", [["explain-error", "ub-401"], ["help", "UB-401"], ["explain-error", "401"]]
)
def test_a_code_is_explained(words, capsys):
    assert main(words) == 0
    assert "A gate refused a table" in capsys.readouterr().out


def test_an_unknown_code_is_refused_with_those_that_there_are(capsys):
    assert main(["explain-error", "UB-000"]) == 2
    assert "there is no error code UB-000; there are UB-101" in capsys.readouterr().err
    assert main(["explain-error"]) == 0
    assert "A landing day is not like the days before it" in capsys.readouterr().out


def test_an_error_that_nobody_foresaw_ends_in_a_line_with_a_code_too(monkeypatch, capsys):
    monkeypatch.setattr("userbert.cli.run_command", lambda *_: [][0])
    assert main(["titles"]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("Traceback")
    assert lines[-1] == "userbert titles: UB-999: IndexError: list index out of range"
