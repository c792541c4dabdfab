# ruff: noqa: RUF001, SIM905
import random

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from nltk.tokenize import word_tokenize

from spark_jobs.transforms import tokenizer
from spark_jobs.transforms.segmenters import segment_words, segmenter_of
from spark_jobs.transforms.tokenizer import Tokenizer

tokens = Tokenizer()

# What NLTK's rules speak of, and what could confuse a tokenizer that splits on blanks.
PIECES = [
    *"don't can't cannot Wanna gonna gonna. 'tis 'twas ''x \"a\" a . ... .. U.S. ) ( \" ' '' -- -"
    " a:b 1:2 : , ,5 «x» ‘q’ „q“ n't N'T rock'n'roll more'n d'ye $5 #1 A&B * ?! “a”. a.) é' – ―"
    " it's its' 's 'S 'll 'Ve l'été a.\" ] gimme lemme gotta `a `` ``` <b> {c} [d] a; x@y 50% a.."
    " ..b , a, a,b 1,000 a: :a 😀 👩\u200d👧 é e\u0301 שלום مرحبا \u202eabc \u00a0 \u2003 \u3000"
    " \u200b \ufeff \t \n \r \x00 \x1c \x85 \u2028 漢字 ａ ß İ ǆ ’ ’s ” » >) ]) .) .' .’"
    " 'a 'are 'sx 'tx cannot-do my_cannot Cannot/x wannabe (#12) v1.2.3 a/b_c.d x:y x:1 x:²"
    " :a: ,b, 1:a %s 100% %d (a) [#b] a=b +1 a-b a--b a.b. ٣:٣ a:٣ __init__.py".split(" "),
    " ",
    "  ",
]


def same(title):
    assert tokens(title) == word_tokenize(title, preserve_line=True), repr(title)


@settings(max_examples=1_500, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(PIECES), st.sampled_from(["", " ", " "])), max_size=9))
def test_pieces_that_rules_speak_of_in_any_order(pieces):
    same("".join(piece + gap for piece, gap in pieces))


@settings(max_examples=700, deadline=None)
@given(st.text(max_size=40))
@example("")
@example(" ")
@example("a . ' \" ) ]")
@example("the end. ’ ”")
def test_any_text(title):
    same(title)


@settings(max_examples=700, deadline=None)
@given(st.text(alphabet="abcABC'\"`.,:-?!()[]<>&$ \t’”«»–0123456789ntsdmlrve", max_size=40))
def test_text_of_marks_and_letters(title):
    same(title)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1 << 30))
def test_titles_of_ten_thousand_characters(seed):
    draw = random.Random(seed)
    title = " ".join(draw.choices(PIECES, k=4_000))[:10_000]
    same(title)
    same("x" * 10_000)
    same("'" * draw.randrange(200) + "a" * 9_000 + "." * draw.randrange(200))


def test_a_full_memo_starts_over_and_gives_the_same_words(monkeypatch):
    monkeypatch.setattr(tokenizer, "_MAX_REMEMBERED", 2)
    small = Tokenizer()
    title = "it's a big, big world: can't you see it's a big world"
    assert small(title) == word_tokenize(title, preserve_line=True)
    places = small._first, small._middle, small._last
    assert all(len(place.known) <= 2 and len(place._templates) <= 2 for place in places)


@pytest.mark.parametrize(
    ("title", "words"),
    [
        ("it's new", ["it", "'s", "new"]),
        ("cannot stop.", ["can", "not", "stop", "."]),
        ("u.s. news", ["u.s.", "news"]),
    ],
)
def test_words_as_a_reader_expects_them(title, words):
    assert tokens(title) == words


@pytest.mark.parametrize(
    ("name", "title", "words"),
    [
        ("jieba", "iphone 15: 我来到北京清华大学!", "iphone 15 : 我 来到 北京 清华大学 !"),
        ("janome", "今日の天気 tokyo", "今日 の 天気 tokyo"),
        ("pythainlp", "ฉันรักภาษาไทย v2", "ฉัน รัก ภาษาไทย v2"),
    ],
)
def test_a_title_without_blanks_is_cut_by_the_segmenter_of_the_settings(name, title, words):
    segment = segmenter_of(name)
    assert segment_words(tokens(title), segment) == words.split()
    assert segment_words(tokens("it's new"), segment) == ["it", "'s", "new"]


def test_without_a_segmenter_nltk_alone_cuts():
    assert segmenter_of("nltk") is None
