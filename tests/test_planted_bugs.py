"""The bugs that tests/faults/planted_bugs.py plants can be planted into today's code.

Whether a test notices each takes half an hour; that one of them no longer fits is seen here.
"""

import pytest
from faults.planted_bugs import BUGS, ROOT


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_the_text_of_a_planted_bug_stands_once_in_its_file(bug):
    assert (ROOT / bug.file).read_text().count(bug.text) == 1
    assert bug.planted != bug.text
    assert (ROOT / "tests" / f"{bug.test}.py").exists()
