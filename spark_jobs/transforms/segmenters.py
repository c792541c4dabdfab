"""Words of the scripts that write none apart: Chinese, Japanese, Thai and their neighbors.

NLTK cuts at blanks, so a title in such a script stays one word. A library's segmenter cuts what is
written in these scripts; all else stays NLTK's.
"""

import logging
import re
from collections.abc import Callable, Iterable

from contracts.errors import BadInput

_Segmenter = Callable[[str], Iterable[str]]

# Thai, Lao, Myanmar, Khmer, kana, Han. As Java's and as Python's regular expressions write it.
UNSEGMENTED_SCRIPTS = (
    r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff]"
)
LONGEST_WORD = 5  # characters; a longer run of these scripts is taken for several words
_RUN = re.compile(f"({UNSEGMENTED_SCRIPTS}+)")


def _jieba() -> _Segmenter:
    import jieba

    jieba.setLogLevel(logging.WARNING)
    return jieba.lcut  # type: ignore[no-any-return]


def _janome() -> _Segmenter:
    from janome.tokenizer import Tokenizer

    return Tokenizer(wakati=True).tokenize  # type: ignore[no-any-return]


def _pythainlp() -> _Segmenter:
    from pythainlp.tokenize import word_tokenize

    return lambda text: word_tokenize(text, engine="newmm")


_SEGMENTERS: dict[str, Callable[[], _Segmenter]] = {
    "jieba": _jieba,
    "janome": _janome,
    "pythainlp": _pythainlp,
}


def segmenter_of(tokenizer: str) -> _Segmenter | None:
    """The segmenter that landing/settings.toml names; None for NLTK alone."""
    if tokenizer not in _SEGMENTERS:
        return None
    try:
        return _SEGMENTERS[tokenizer]()
    except ImportError:
        raise BadInput(
            f"landing/settings.toml: tokenizer is {tokenizer!r}, which is not installed here: "
            "pip install 'userbert[segmenters]'"
        ) from None


def segment_words(words: list[str], segment: _Segmenter) -> list[str]:
    """NLTK's `words`, those cut further that hold a script without blanks."""
    if all(word.isascii() for word in words):
        return words
    return [part for word in words for part in _parts(word, segment)]


def _parts(word: str, segment: _Segmenter) -> Iterable[str]:
    for place, text in enumerate(_RUN.split(word)):  # every second one is such a run
        yield from segment(text) if place % 2 else (text,) if text else ()
