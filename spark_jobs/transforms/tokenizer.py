"""NLTK's words of a title, exactly, at the cost of one look-up for each word.

`word_tokenize(title, preserve_line=True)` runs 29 regular expressions over each title: 24,000
titles a CPU second. None of them looks past a blank, but for those about the end of the title, so
nearly every word's tokens depend on the word alone, and words repeat (Zipf): they are learned once
for each of three places (first, middle, last) and remembered. A title in which a rule could look
past a blank goes to NLTK whole.

Words that were never seen before, as names of files and numbers of issues, are learned without
NLTK where they can be. No rule touches an *unmarked* one (or a whole title of such), and of a run
of letters and digits the rules see only whether it begins with a digit, so that NLTK cuts each
*shape* of a word once.
"""

import re
import sys
from collections.abc import Callable
from typing import TypeVar

_MAX_REMEMBERED = 200_000  # words, and shapes, a place; then it starts over: memory is bounded
_MAX_WORD_LENGTH = 50  # characters of a word worth remembering
_CLOSING_MARKS = frozenset("])}>\"'»\u201d\u2019 ")  # what may follow the final period, over blanks
_RUN = re.compile(r"\w+")
# A word, or words with single blanks, whose marks are such as no rule touches.
_is_unmarked = re.compile(r"\w++(?:[-/+.= ]\w++)*+").fullmatch
_CUT_WORDS = ("cannot", "gimme", "gonna", "gotta", "lemme", "wanna")  # inside others too: x/cannot
_SIMILAR = {True: ("0", "00"), False: ("a", "aa")}  # by whether a run begins with a digit


def _of_nltk() -> Callable[[str], list[str]]:
    """NLTK's own. Its package takes in all of scipy if it finds it, for parts that nobody here
    calls: 2.0 CPU s in each Python worker, and 0.7 without."""
    missing = "scipy" not in sys.modules
    if missing:
        sys.modules["scipy"] = None  # type: ignore[assignment]
    try:
        from nltk.tokenize.destructive import NLTKWordTokenizer
    finally:
        if missing:
            del sys.modules["scipy"]
    return NLTKWordTokenizer().tokenize  # type: ignore[no-any-return]


_nltk_words = _of_nltk()
_Learned = TypeVar("_Learned")


class _Place:
    """What was learned of words at one place of a title, between `before` and `after`."""

    def __init__(self, before: str, after: str) -> None:
        self._before, self._after = before, after
        self.known: dict[str, list[str]] = {}
        self._templates: dict[str, str] = {}  # by shape

    def learn(self, word: str) -> list[str]:
        """The word's tokens, which `known` has from here on."""
        if _holds_cut_word(word) or "'" in word:
            # Of what follows an apostrophe NLTK looks at the letters themselves: it's, o'clock.
            tokens = self._by_nltk(word)
        elif _is_unmarked(word):
            tokens = [word]
        else:
            tokens = self._by_shape(word)
        return _remember(self.known, word, tokens)

    def _by_nltk(self, word: str) -> list[str]:
        num_before, num_after = bool(self._before), bool(self._after)
        tokens = _nltk_words(f"{self._before}{word}{self._after}")
        return tokens[num_before : len(tokens) - num_after]

    def _by_shape(self, word: str) -> list[str]:
        shape = _RUN.sub(_similar_run, word)
        template = self._templates.get(shape)
        if template is None:
            template = _RUN.sub("%s", " ".join(self._by_nltk(shape)).replace("%", "%%"))
            _remember(self._templates, shape, template)
        return (template % tuple(_RUN.findall(word))).split(" ")


def _holds_cut_word(text: str) -> bool:
    text = text.lower()
    if "nn" in text or "mme" in text or "tta" in text:  # as every one of them
        return any(cut in text for cut in _CUT_WORDS)
    return False


def _similar_run(run: re.Match[str]) -> str:
    """A run that NLTK's rules cannot tell from this one."""
    text = run[0]
    return _SIMILAR[text[0].isdecimal()][len(text) > 1]


class Tokenizer:
    """Call it with a title to get its words: `tokens("it's new") == ["it", "'s", "new"]`.

    Equal to NLTK's for every string. Titles that are normalized (printable, single blanks, none
    at the edges) take the quick way.
    """

    def __init__(self) -> None:
        self._first, self._middle, self._last = (
            _Place("", " x"),
            _Place("x ", " x"),
            _Place("x ", ""),
        )

    def __call__(self, title: str) -> list[str]:
        words = title.split(" ")
        if _is_unmarked(title) and not _holds_cut_word(title):
            return words
        if len(words) < 2 or not _each_alone(title, words):
            return _nltk_words(title)
        tokens = list(self._first.known.get(words[0]) or self._first.learn(words[0]))
        middle, known = self._middle, self._middle.known
        for word in words[1:-1]:
            tokens += known.get(word) or middle.learn(word)
        tokens += self._last.known.get(words[-1]) or self._last.learn(words[-1])
        return tokens


def _each_alone(title: str, words: list[str]) -> bool:
    """Whether no rule can look past a blank of this title."""
    return title.isprintable() and "" not in words and not _CLOSING_MARKS.issuperset(words[-1])


def _remember(memo: dict[str, _Learned], word: str, learned: _Learned) -> _Learned:
    if len(memo) >= _MAX_REMEMBERED:
        memo.clear()
    if len(word) <= _MAX_WORD_LENGTH:
        memo[word] = learned
    return learned
