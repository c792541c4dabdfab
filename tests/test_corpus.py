from datetime import UTC, date, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest
from deltalake import DeltaTable
from small_lake import write

from contracts.errors import BadInput, MissingTable
from contracts.paths import Places
from contracts.tables import SEQUENCE_PAIRS
from model.data import build_corpus, delta_source
from model.data.build_corpus import training_input
from model.data.corpus import TEST, TRAINING, VALIDATION, part_of_users
from model.data.delta_source import Source
from model.data.row_hashes import row_fingerprints, string_bytes
from model.data.vocabulary import Vocabulary

DAY = date(2020, 1, 31)
START = datetime(2020, 1, 1, tzinfo=UTC)
TITLES = {
    70: ["red", "shoes"],
    -5: ["red", "hat"],
    12: ["green", "tea"],
    13: ["green", "tea", "sale"],  # the same as 12 where titles are cut at two words
    99: ["in", "no", "pair"],
}


def pair(user, pair_id, a, b, a_hour=0, b_hour=10, as_of=DAY):
    """A pair of `user`: titles `a`, one a minute from `a_hour`, then `b` from `b_hour`."""
    times = {
        side: [START + timedelta(hours=hour, minutes=i) for i in range(len(titles))]
        for side, hour, titles in (("a", a_hour, a), ("b", b_hour, b))
    }
    return {
        "as_of": as_of,
        "user_id": user,
        "pair_id": pair_id,
        "a_title_ids": a,
        "a_event_times": times["a"],
        "b_title_ids": b,
        "b_event_times": times["b"],
    }


def write_pairs(places, rows):
    write(places, "sequence_pairs", rows)


def write_titles(places, titles=TITLES):
    write(places, "titles", [{"title_id": id_, "words": words} for id_, words in titles.items()])


def make(places, **settings):
    settings = {"max_words": 30, "max_views": 100} | settings
    return training_input(places.lake, DAY, places.arrays, **settings)


def held_out_names(number):
    """The first users that are held out, and the first that are not."""
    names = [f"user{i}" for i in range(400)]
    held_out = part_of_users(row_fingerprints(string_bytes(pa.array(names)))) > TRAINING
    return (
        [n for n, out in zip(names, held_out, strict=True) if out][:number],
        [n for n, out in zip(names, held_out, strict=True) if not out][:number],
    )


def sides_of(made):
    """Each pair's titles and times, in the words of the tables."""
    corpus = made.corpus
    for a, b in corpus.pairs:
        yield tuple(
            corpus.title_ids[corpus.sequences.values[slice(*corpus.sequences.offsets[[s, s + 1]])]]
            for s in (a, b)
        )


def test_the_arrays_hold_what_the_tables_hold(places):
    write_titles(places)
    write_pairs(places, [pair("u", 0, [70, -5, 70], [12])])
    made = make(places)
    corpus = made.corpus
    assert corpus.title_ids.tolist() == [-5, 12, 70]
    assert [[t.tolist() for t in sides] for sides in sides_of(made)] == [[[70, -5, 70], [12]]]
    start = int(START.timestamp()) * 1_000_000
    minute = 60_000_000
    assert corpus.times.tolist() == [
        start,
        start + minute,
        start + 2 * minute,
        start + 600 * minute,
    ]
    words = [
        [made.vocabulary.words[i - 2] for i in corpus.title_words.values[slice(*ends)]]
        for ends in zip(corpus.title_words.offsets, corpus.title_words.offsets[1:], strict=False)
    ]
    assert words == [["red", "hat"], ["green", "tea"], ["red", "shoes"]]
    assert made.inputs == {"sequence_pairs": 0, "titles": 0}


def test_the_vocabulary_is_of_the_pairs_titles_alone(places):
    write_titles(places)
    write_pairs(places, [pair("u", 0, [70], [-5])])
    write_pairs(places, [pair("u", 0, [12], [12], as_of=date(2020, 2, 1))])
    assert make(places).vocabulary.words == ("red", "hat", "shoes")


def test_a_sequence_that_two_pairs_share_is_stored_once(places):
    write_titles(places)
    chain = [
        pair("u", 0, [70], [12, 12], a_hour=0, b_hour=5),
        pair("u", 1, [12, 12], [-5], a_hour=5, b_hour=9),
        pair(
            "u", 2, [-5, 70], [12], a_hour=9, b_hour=20
        ),  # begins as the B before it, but is longer
    ]
    write_pairs(places, chain[::-1])
    corpus = make(places).corpus
    assert corpus.pairs.tolist() == [[0, 1], [1, 2], [3, 4]]
    assert corpus.sequences.lengths().tolist() == [1, 2, 1, 2, 1]
    assert corpus.sequence_users.tolist() == [0] * 5


def test_sequences_of_equal_titles_at_other_times_are_two(places):
    write_titles(places)
    write_pairs(
        places,
        [
            pair("u", 0, [70], [12], a_hour=0, b_hour=5),
            pair("u", 1, [12], [70], a_hour=6, b_hour=9),  # the same title, an hour later
        ],
    )
    corpus = make(places).corpus
    assert corpus.pairs.tolist() == [[0, 1], [2, 3]]
    hours = (corpus.times - corpus.times[0]) // 3_600_000_000
    assert hours.tolist() == [0, 5, 6, 9]


def test_arrays_of_another_earlier_vocabulary_are_other_arrays(places):
    write_titles(places)
    write_pairs(places, [pair("u", 0, [70], [12])])
    assert make(places).vocabulary.words[0] == "green"
    grown = make(places, earlier=Vocabulary(("old", "tea"))).vocabulary
    assert grown.words[:2] == ("old", "tea")
    other = make(places, earlier=Vocabulary(("tea", "old"))).vocabulary
    assert other.words[:2] == ("tea", "old")


def test_held_out_users_come_last_and_their_views_are_no_behaviors(places):
    (held_out,), (seen,) = held_out_names(1)
    write_titles(places)
    write_pairs(places, [pair(held_out, 0, [70], [70]), pair(seen, 0, [12], [-5])])
    made = make(places)
    assert [[t.tolist() for t in sides] for sides in sides_of(made)] == [
        [[12], [-5]],
        [[70], [70]],
    ]
    assert made.training_pairs.tolist() == [0]
    assert made.validation_pairs.tolist() == made.test_pairs.tolist() == [1]
    assert made.corpus.title_ids[made.corpus.behaviors].tolist() == [12, -5]


def test_a_tenth_of_users_is_held_out_one_half_to_validate_and_one_half_to_test():
    users = row_fingerprints(string_bytes(pa.array([f"u{i}" for i in range(20_000)])))
    assert len(np.unique(users)) == 20_000
    shares = np.bincount(part_of_users(users)) / len(users)
    assert shares[[TRAINING, VALIDATION, TEST]] == pytest.approx([0.9, 0.05, 0.05], abs=0.005)


def test_pairs_of_validation_users_come_before_those_of_test_users(places):
    names = [f"user{i}" for i in range(400)]
    parts = part_of_users(row_fingerprints(string_bytes(pa.array(names))))
    of_part = {part: names[int(np.flatnonzero(parts == part)[0])] for part in range(3)}
    write_titles(places)
    write_pairs(
        places,
        [
            pair(of_part[TEST], 0, [70], [70]),
            pair(of_part[VALIDATION], 0, [12], [12]),
            pair(of_part[VALIDATION], 1, [12], [70], a_hour=20, b_hour=30),
            pair(of_part[TRAINING], 0, [-5], [-5]),
        ],
    )
    made = make(places)
    assert made.training_pairs.tolist() == [0]
    assert made.validation_pairs.tolist() == [1, 2]
    assert made.test_pairs.tolist() == [3]
    assert [sides[0].tolist() for sides in sides_of(made)] == [[-5], [12], [12], [70]]
    assert made.num_users == 3


def test_titles_that_the_encoder_cannot_tell_apart_are_identical(places):
    write_titles(places)
    write_pairs(places, [pair("u", 0, [12, 13], [70])])
    whole = make(places).corpus.title_identity
    assert whole[0] != whole[1]
    cut = make(places, max_words=2).corpus.title_identity
    assert cut[0] == cut[1] != cut[2]


def test_unknown_words_make_titles_identical(places):
    write_titles(places, {1: ["red", "a"], 2: ["red", "b"]})
    write_pairs(places, [pair("u", 0, [1], [2])])
    made = make(places, min_count=2)
    assert made.vocabulary.words == ("red",)
    assert made.corpus.title_identity.tolist() == [0, 0]


def test_the_newest_views_of_a_long_sequence_are_kept(places):
    write_titles(places)
    write_pairs(places, [pair("u", 0, [70, -5, 12], [13, 70])])
    made = make(places, max_views=2)
    assert [[t.tolist() for t in sides] for sides in sides_of(made)] == [[[-5, 12], [13, 70]]]


def test_rows_in_another_order_and_other_files_make_the_same_arrays(tmp_path, monkeypatch):
    rows = [
        pair(f"u{u}", p, [70, 12][: 1 + u % 2], [-5, 13, 70][: 1 + p], p * 20, p * 20 + 10)
        for u in range(30)
        for p in range(3)
    ]
    first, second = Places(tmp_path / "first"), Places(tmp_path / "second")
    write_titles(first)
    write_pairs(first, rows)
    one = make(first)
    monkeypatch.setattr(delta_source, "_BATCH_ROWS", 7)
    for title, words in reversed(TITLES.items()):
        write_titles(second, {title: words})
    for i in range(0, 90, 13):
        write_pairs(second, rows[::-1][i : i + 13])
    many = make(second)
    assert one.content == many.content
    assert one.inputs != many.inputs


def test_arrays_are_made_once_and_never_half(places, monkeypatch):
    write_titles(places)
    write_pairs(places, [pair("u", 0, [70], [12])])
    monkeypatch.setattr(build_corpus, "_write_words", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        make(places)
    assert list(places.arrays.iterdir()) == []
    monkeypatch.undo()
    content = make(places).content
    monkeypatch.setattr(build_corpus, "_build", lambda *_: 1 / 0)
    assert make(places).content == content


@pytest.mark.parametrize(
    ("file", "damage", "reason"),
    [
        ("times.npy", "truncate", "times.npy is damaged"),
        ("pairs.npy", "remove", "pairs.npy is damaged"),
        ("corpus.json", "truncate", "corpus.json cannot be read"),
        ("corpus.json", "empty", "corpus.json lacks as_of, content, inputs"),
        ("vocabulary.json", "truncate", "is not a vocabulary"),
        ("sequences.values.npy", "flip", "does not hold the arrays that were made there"),
    ],
)
def test_damaged_arrays_are_named_and_made_again(places, capsys, file, damage, reason):
    write_titles(places)
    write_pairs(places, [pair("u", 0, [70, 13], [12])])
    made = make(places)
    times = made.corpus.times.tolist()
    path = next(places.arrays.iterdir()) / file
    held = path.read_bytes()
    if damage == "remove":
        path.unlink()
    else:
        flipped = held[:-1] + bytes([held[-1] ^ 1])
        path.write_bytes({"truncate": held[:-9], "empty": b"{}", "flip": flipped}[damage])
    again = make(places)
    assert again.content == made.content
    assert again.corpus.times.tolist() == times
    assert path.read_bytes() == held
    said = capsys.readouterr().err
    assert reason in said
    assert str(path.parent) in said
    assert said.count("\n") == 1
    assert "They are a copy of the lake's tables and are made again" in said


def test_a_pinned_version_is_what_is_read(places):
    write_titles(places)
    write_pairs(places, [pair("u", 0, [70], [12])])
    write_pairs(places, [pair("v", 0, [70], [12])])
    assert len(make(places).corpus.pairs) == 2
    pinned = make(places, versions={"sequence_pairs": 0})
    assert len(pinned.corpus.pairs) == 1
    assert pinned.inputs == {"sequence_pairs": 0, "titles": 0}
    assert DeltaTable(f"{places.lake}/sequence_pairs").version() == 1


def test_an_earlier_vocabulary_keeps_its_ids(places):
    write_titles(places)
    write_pairs(places, [pair("u", 0, [70], [12])])
    grown = make(places, earlier=Vocabulary(("old", "tea"))).vocabulary
    assert grown.words == ("old", "tea", "green", "red", "shoes")


def test_what_is_missing_is_named_with_the_job_that_makes_it(places):
    with pytest.raises(MissingTable, match=r"no sequence_pairs.*userbert sequence-pairs"):
        make(places)
    write_pairs(places, [pair("u", 0, [70], [123])])
    write_titles(places)
    with pytest.raises(BadInput, match=r"lacks 1 of the 2 titles.*\[123\].*userbert titles"):
        make(places)
    with pytest.raises(MissingTable, match=r"no rows for .*2019-01-01"):
        training_input(places.lake, date(2019, 1, 1), places.arrays, max_words=30, max_views=100)


def test_distinct_ids_and_ranks_are_those_of_numpy():
    draw, found = np.random.default_rng(0), build_corpus._SortedIds()
    parts = [draw.integers(-900, 900, size) for size in (0, 5, 300, 1, 2_000, 40)]
    for part in parts:
        found.add(part)
    assert np.array_equal(found.all(), np.unique(np.concatenate(parts)))
    for part in parts:
        prints = part.astype(np.uint64)
        ranks = np.unique(prints, return_inverse=True)[1]
        assert np.array_equal(build_corpus._ranks(prints), ranks)


def test_a_source_keeps_every_filter(places):
    rows = [
        pair("u", 0, [70], [12]) | {"b_end": datetime(2020, 1, day, tzinfo=UTC)} for day in (2, 3)
    ]
    rows += [pair("v", 0, [70], [12], as_of=date(2020, 2, 1)) | {"b_end": rows[0]["b_end"]}]
    write_pairs(places, rows)
    source = Source.open(places.lake, SEQUENCE_PAIRS, None, b_end=rows[0]["b_end"], as_of=DAY)
    found = [row for batch in source.batches("user_id", "b_end") for row in batch.to_pylist()]
    assert found == [{"user_id": "u", "b_end": rows[0]["b_end"]}]
