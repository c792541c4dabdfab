import hashlib

import pyarrow as pa
import pytest

from contracts.errors import BadInput
from model.data.vocabulary import PADDING_ID, UNKNOWN_ID, Vocabulary, WordCounts


def counts_of(*batches):
    counts = WordCounts()
    for words in batches:
        counts.add(pa.array(words, pa.string()))
    return counts


def test_the_most_frequent_word_comes_first_and_ties_go_by_the_alphabet():
    counts = counts_of(["news", "b", "a"], ["news"])
    assert Vocabulary.of(counts).words == ("news", "a", "b")


def test_words_seen_too_seldom_are_left_out():
    assert Vocabulary.of(counts_of(["x", "x", "y"]), min_count=2).words == ("x",)


def test_the_unknown_share_counts_every_occurrence():
    vocabulary = Vocabulary(("news",))
    assert vocabulary.unknown_share(pa.array(["news", "x", "x", "y"])) == 0.75
    assert vocabulary.unknown_share(pa.array([], pa.string())) == 0


def test_ids_begin_after_padding_and_unknown():
    vocabulary = Vocabulary(("news", "sport"))
    assert vocabulary.ids(pa.array(["sport", "never seen", "news"])).tolist() == [3, UNKNOWN_ID, 2]
    assert PADDING_ID not in vocabulary.ids(pa.array(["", "news"]))
    assert len(vocabulary) == 4


def test_a_later_vocabulary_keeps_every_earlier_id():
    earlier = Vocabulary(("gone", "news"))
    later = Vocabulary.of(counts_of(["zebra", "zebra", "news"], ["ant"]), earlier=earlier)
    assert later.words == ("gone", "news", "zebra", "ant")


def test_many_batches_count_as_one():
    words = [f"w{i % 7}" for i in range(500)]
    assert Vocabulary.of(counts_of(*([w] for w in words))) == Vocabulary.of(counts_of(words))


def test_a_vocabulary_comes_back_from_its_file_with_the_file_s_own_sum(tmp_path):
    vocabulary = Vocabulary(("naïve", 'a"b', "\u2028", "新聞"))
    vocabulary.save(tmp_path / "vocabulary.json")
    assert Vocabulary.load(tmp_path / "vocabulary.json") == vocabulary
    held = (tmp_path / "vocabulary.json").read_bytes()
    assert vocabulary.sha256 == hashlib.sha256(held).hexdigest()


@pytest.mark.parametrize(
    ("held", "message"),
    [('{"a": 1}', "a JSON list of words"), ('["a", "a"]', "twice"), ("[", "not a vocabulary")],
)
def test_a_file_that_is_no_vocabulary_is_refused(tmp_path, held, message):
    path = tmp_path / "vocabulary.json"
    path.write_text(held)
    with pytest.raises(BadInput, match=message):
        Vocabulary.load(path)
