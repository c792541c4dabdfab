"""What people are shown: text out of data as it is, keys whole, no traceback at a closed pipe."""

import pty
import subprocess
import sys
from os import close, read
from pathlib import Path

from contracts.terminal.printing import cell_text, grid, print_parts

ROOT = Path(__file__).parents[1]
MODEL = "nrms-2017-06-29-0cbeb1326d-with-a-name-of-more-than-fifty-letters"
ROW = (MODEL, "2017-06-30", 1234567, "a title of many words that may wrap where it has blanks", 0.5)


def printed(capsys, *parts):
    print_parts(*parts)
    return capsys.readouterr().out


def test_data_is_no_markup(capsys):
    texts = ["[/video] how to", "[bold]hello[/bold]", ":x: :smile:", "[red]"]
    out = printed(capsys, *texts, grid([texts], *texts, title="[b]title[/b] :x:"))
    assert all(out.count(text) == 3 for text in texts)
    assert "[b]title[/b] :x:" in out


def test_control_codes_of_a_terminal_are_spelled_out(capsys):
    out = printed(capsys, grid([("\x1b[2J\x07", "a\tb", "\u202eevil", "zero\u200dwidth")], *"abcd"))
    assert r"\x1b[2J\x07" in out
    assert r"a\tb" in out
    assert r"\u202eevil" in out
    assert "zero\u200dwidth" in out  # emoji and several scripts need it


def test_in_a_file_each_row_is_one_line_however_wide(capsys):
    out = printed(capsys, grid([ROW], "model", "day", "#rows", "title", "#share"))
    (line,) = [line for line in out.splitlines() if MODEL in line]
    assert all(cell_text(value) in line for value in ROW)


def test_in_a_terminal_of_80_columns_text_wraps_and_keys_do_not():
    code = f"from contracts.terminal.printing import *; print_parts(grid([{ROW!r}], *'abcd', '#e'))"
    ours, theirs = pty.openpty()
    subprocess.run(
        [sys.executable, "-c", code],
        stdout=theirs,
        cwd=ROOT,
        check=True,
        env={"COLUMNS": "80", "TERM": "xterm", "PYTHONPATH": str(ROOT), "PYTHONUTF8": "1"},
    )
    close(theirs)
    out = read(ours, 100_000).decode()
    close(ours)
    (line,) = [line for line in out.splitlines() if MODEL in line]
    assert "2017-06-30" in line
    assert "1,234,567" in line
    assert ROW[3] not in line
    assert "wrap" in out


def test_values_have_one_spelling():
    values = [True, 1234, 0.12345, ["a", "b"], None, "x"]
    assert [cell_text(value) for value in values] == ["yes", "1,234", "0.1235", "a · b", "", "x"]


def test_a_reader_that_has_enough_ends_the_command_without_a_message():
    code = (
        "import typer\n"
        "from contracts.terminal.command_line import build_command, run_command\n"
        "from contracts.terminal.printing import print_parts\n"
        "def show() -> None:\n"
        "    for _ in range(3000): print_parts('x' * 100)\n"
        "raise SystemExit(run_command(build_command(show, None), [], 'show'))"
    )
    run = subprocess.run(
        f'"{sys.executable}" -c "{code}" | head -1',
        shell=True,
        capture_output=True,
        cwd=ROOT,
        check=True,
        text=True,
    )
    assert (run.stdout, run.stderr) == ("x" * 100 + "\n", "")


def test_only_the_one_printer_makes_a_console():
    """Another console would read `[x]` in data as markup."""
    found = subprocess.run(
        ["git", "-c", "safe.directory=*", "grep", "-lE", r"Console\(", "--", "*.py", ":!tests"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout.splitlines() == ["contracts/terminal/printing.py"]
