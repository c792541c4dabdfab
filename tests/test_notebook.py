"""The notebook for analysts runs from top to bottom, on a small lake with the names of the demo."""

import json
import os
import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from small_demo import USERS, write_demo

from contracts.paths import Places

ROOT = Path(__file__).parents[1]
NOTEBOOK = ROOT / "docs/notebooks/analyst.ipynb"


@pytest.fixture(scope="module")
def outputs(tmp_path_factory):
    """What each cell of code showed, as text."""
    places = Places(tmp_path_factory.mktemp("notebook"))
    write_demo(places)
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("USERBERT_DATA", str(places.root))
        paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
        patch.setenv("PYTHONPATH", os.pathsep.join(paths))
        NotebookClient(notebook, timeout=120, kernel_name="python3").execute()
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    return [json.dumps(cell.outputs) for cell in cells]


def test_every_cell_of_the_notebook_answers(outputs):
    shown = "\n".join(outputs)
    assert all(output != "[]" for output in outputs)
    assert "<td>user_sequences</td>" in shown  # the lake as a notebook shows it
    assert "Vectors" in shown
    assert "No sign that the population moved" in shown
    assert f"({len(USERS)}, " in shown  # the users of the cohort


def test_the_notebook_is_stored_without_outputs():
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [(cell.outputs, cell.execution_count) for cell in code] == [([], None)] * len(code)


def test_every_day_and_user_of_the_notebook_is_one_of_the_demo():
    text = NOTEBOOK.read_text()
    assert set(re.findall(r"date\((\d+, \d+, \d+)\)", text)) == {"2017, 6, 30", "2017, 7, 1"}
    assert set(re.findall(r"lake, \\\"(\d+)\\\"", text)) <= set(USERS)
