"""What is read at once is what Python's reader says of each line alone."""

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from spark_jobs.ingest.parsing.json_batches import read_at_once
from spark_jobs.ingest.parsing.json_objects import ObjectReader

OURS, NAMES = ("user_id", "event_time", "title"), ["u", "t", "p"]
READER = ObjectReader(dict(zip(OURS, NAMES, strict=True)))
WORDS = st.text(max_size=6) | st.sampled_from(["\ud800", "a\x00b", "\u2028", '"', "\\"])
VALUES = st.one_of(
    WORDS,
    st.integers(),
    st.none(),
    st.floats(),
    st.booleans(),
    st.lists(st.integers(), max_size=2),
    st.dictionaries(WORDS, st.integers(), max_size=2),
)
WHOLE = st.fixed_dictionaries(dict.fromkeys(NAMES, WORDS))
ANY = st.dictionaries(st.sampled_from([*NAMES, "x"]), VALUES, max_size=5)
NOISE = [
    "",
    "\x01",
    "\t",
    ",",
    "}",
    "{",
    '"',
    "\\",
    "\\u12",
    "\\uD800",
    " ",
    "0",
    "-",
    "NaN",
    "/**/",
]


def as_line(value, escaped):
    line = json.dumps(value, ensure_ascii=escaped)
    return line if line.isprintable() else json.dumps(value)


LINES = st.builds(as_line, WHOLE | ANY, st.booleans())


@st.composite
def spoiled(draw):
    line, noise = draw(LINES), draw(st.sampled_from(NOISE))
    at = draw(st.integers(0, len(line)))
    return line[:at] + noise + line[at + draw(st.integers(0, 2)) :]


@settings(max_examples=150, deadline=None)
@given(st.lists(LINES | LINES | spoiled(), min_size=1, max_size=40))
def test_a_line_that_is_read_at_once_is_read_right(lines):
    rows, table = read_at_once(lines, NAMES)
    assert rows == sorted(set(rows))
    for n, row in zip(rows, table.to_pylist(), strict=True):
        assert READER.read(lines[n]) == (dict(zip(OURS, row.values(), strict=True)), [])


def test_a_few_bad_lines_leave_the_others_to_be_read_at_once():
    lines = [json.dumps({"u": n, "t": "2017", "p": "é", "x": [n]}) for n in range(1000)]
    lines[100], lines[700], lines[900] = "{half", '{"u": 7, "t": "2017"}', '{"u": 7}{"u": 7}'
    rows, table = read_at_once(lines, NAMES)
    assert len(rows) > 900
    assert not {100, 700, 900} & set(rows)
    assert table.to_pylist()[0] == {"u": "0", "t": "2017", "p": "é"}


def test_a_line_that_is_nested_deep_is_left_alone():
    lines = [json.dumps({"u": "1", "t": "2017", "p": "a"}), '{"u":' + "[" * 100_000 + "}"]
    assert read_at_once(lines, NAMES)[0] == [0]
