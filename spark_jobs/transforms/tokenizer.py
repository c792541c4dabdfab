"""NLTK's words of a title, exactly, at the cost of one look-up for each word.

`word_tokenize(title, preserve_line=True)` runs 29 regular expressions over each title: 8,000
titles/s on one core. None of them looks past a blank, but for those about the end of the title,
so nearly every word's tokens depend on the word alone, and words repeat (Zipf). A word's tokens
are computed by NLTK itself once for each of three places (first, middle, last) and remembered;
a title in which a rule could look past a blank goes to NLTK whole.
"""

import sys
from collections.abc import Callable

_MAX_REMEMBERED = (
    200_000  # words remembered a place; then that place starts over, so memory is bounded
)
_MAX_WORD_LENGTH = 50  # characters of a word worth remembering
_CLOSING_MARKS = frozenset("])}>\"'»\u201d\u2019 ")  # what may follow the final period, over blanks


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


class Tokenizer:
    """Call it with a title to get its words: `tokens("it's new") == ["it", "'s", "new"]`.

    Equal to NLTK's for every string. Titles that are normalized (printable, single blanks, none
    at the edges) take the quick way.
    """

    def __init__(self) -> None:
        self._first: dict[str, list[str]] = {}
        self._middle: dict[str, list[str]] = {}
        self._last: dict[str, list[str]] = {}

    def __call__(self, title: str) -> list[str]:
        words = title.split(" ")
        if len(words) < 2 or not _each_alone(title, words):
            return _nltk_words(title)
        tokens = list(self._first.get(words[0]) or self._learn_first(words[0]))
        middle = self._middle
        for word in words[1:-1]:
            tokens += middle.get(word) or self._learn_middle(word)
        tokens += self._last.get(words[-1]) or self._learn_last(words[-1])
        return tokens

    def _learn_first(self, word: str) -> list[str]:
        return _remember(self._first, word, _nltk_words(f"{word} x")[:-1])

    def _learn_middle(self, word: str) -> list[str]:
        return _remember(self._middle, word, _nltk_words(f"x {word} x")[1:-1])

    def _learn_last(self, word: str) -> list[str]:
        return _remember(self._last, word, _nltk_words(f"x {word}")[1:])


def _each_alone(title: str, words: list[str]) -> bool:
    """Whether no rule can look past a blank of this title."""
    return title.isprintable() and "" not in words and not _CLOSING_MARKS.issuperset(words[-1])


def _remember(memo: dict[str, list[str]], word: str, tokens: list[str]) -> list[str]:
    if len(memo) >= _MAX_REMEMBERED:
        memo.clear()
    if len(word) <= _MAX_WORD_LENGTH:
        memo[word] = tokens
    return tokens
