"""Titles tokenized a CPU second where few titles repeat: ours against NLTK's, on the same titles.

    python -m benchmarks.tokenizer [--titles 200000] [--check 1000000]

Titles are made in the manner of commit subjects: words by Zipf's law, names of files, versions,
hashes, issue numbers and scopes that hardly ever repeat, marks and contractions. The share of
distinct titles is 5, 50 and 100 %; 97 % is what commit subjects of public repositories have, and
8 % what titles of web pages have. `--check` compares the words of so many more made strings, half
of them of nothing but pieces that NLTK's rules speak of. The last line is JSON; `ratio` is ours
over NLTK's at 100 % distinct.
"""

import random
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate, cycle, islice

from benchmarks.harness import benchmark_parser, print_line, print_result
from spark_jobs.transforms.tokenizer import Tokenizer


def _split(text: str) -> list[str]:
    return text.split()


DISTINCT_SHARES = (0.05, 0.5, 1.0)  # of distinct titles
WORD_SYLLABLES = _split("ba ce di fo gu ha jen kor lim mas nor pre qui ros ster tion ur ven wil yx")
NUM_WORDS = 30_000
RULE_PIECES = _split(
    "don't can't cannot gonna wanna. 'tis \"a\" a . ... U.S. ) ( \" ' '' -- - a:b 1:2 : , ,5 «x» "
    "n't rock'n'roll $5 #1 A&B * ?! a.) é' it's its' 's `` <b> [d] a; x@y 50% a.. 1,000 a-b a/b "
    "c_d cannot-do my_gonna x.y e.g. 3.5 +1 a=b foo.py src/a.c v1.2.3 Ünïcode 漢字 Cannot CANNOT "
    "gotta_x wannabe lemmefix gimme/x"
)
Words = Callable[[str], list[str]]


def vocabulary(draw: random.Random) -> list[str]:
    return ["".join(draw.choices(WORD_SYLLABLES, k=draw.randint(1, 4))) for _ in range(NUM_WORDS)]


def rare_word(draw: random.Random) -> str:
    """A word that hardly ever comes again."""
    kind = draw.randrange(5)
    if kind == 0:
        return f"{draw.getrandbits(28):07x}"
    if kind == 1:
        return f"(#{draw.randrange(100_000)})"
    if kind == 2:
        return f"v{draw.randrange(20)}.{draw.randrange(50)}.{draw.randrange(200)}"
    names = draw.choices(WORD_SYLLABLES, k=4)
    return f"{names[0]}/{names[1]}_{names[2]}{draw.randrange(1000)}.{names[3]}"


def made_titles(count: int, draw: random.Random) -> list[str]:
    """Distinct titles of 3 to 12 words, a seventh of which are rare."""
    words = vocabulary(draw)
    weights = list(accumulate(1 / rank for rank in range(1, NUM_WORDS + 1)))
    titles: dict[str, None] = {}
    while len(titles) < count:
        own = draw.choices(words, cum_weights=weights, k=draw.randint(3, 12))
        own = [rare_word(draw) if draw.random() < 1 / 7 else word for word in own]
        if draw.random() < 0.4:
            own[0] += draw.choice((":", "(core):", ","))
        if draw.random() < 0.1:
            own[-1] += draw.choice((".", "!", "'s", "?"))
        titles[" ".join(own)] = None
    return list(titles)


def hostile_strings(count: int, draw: random.Random) -> Iterator[str]:
    for _ in range(count):
        pieces = draw.choices(RULE_PIECES, k=draw.randint(1, 8))
        yield "".join(piece + draw.choice((" ", " ", "")) for piece in pieces)


def titles_a_cpu_second(words_of: Words, titles: Sequence[str]) -> float:
    began = time.process_time()
    for title in titles:
        words_of(title)
    return len(titles) / (time.process_time() - began)


def nltks_words() -> Words:
    from nltk.tokenize import NLTKWordTokenizer

    return NLTKWordTokenizer().tokenize  # type: ignore[no-any-return]


def num_unequal(titles: Iterator[str], ours: Words, nltks: Words) -> int:
    return sum(ours(title) != nltks(title) for title in titles)


def main() -> int:
    parser = benchmark_parser(__doc__)
    parser.add_argument("--titles", type=int, default=200_000, help="default: %(default)s")
    parser.add_argument("--check", type=int, default=1_000_000, help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    draw, nltks = random.Random(options.seed), nltks_words()
    distinct = made_titles(options.titles, draw)
    nltks_rate = titles_a_cpu_second(nltks, distinct[: options.titles // 10])
    rates = {}
    for share in DISTINCT_SHARES:
        some = distinct[: max(1, int(share * options.titles))]
        titles = some if share == 1 else draw.choices(some, k=options.titles)
        rates[share] = titles_a_cpu_second(Tokenizer(), titles)
        print_line({"distinct": share, "titles_a_cpu_second": round(rates[share])})
    ours, half = Tokenizer(), options.check // 2
    unequal = num_unequal(hostile_strings(half, draw), ours, nltks)
    unequal += num_unequal(islice(cycle(distinct), half), ours, nltks)
    figures = {
        "nltk_titles_a_cpu_second": round(nltks_rate),
        "titles_a_cpu_second": {f"{share:.0%} distinct": round(r) for share, r in rates.items()},
        "compared": 2 * half,
    }
    ratio = round(rates[1.0] / nltks_rate, 1)
    print_result({"name": "tokenizer", "ratio": ratio, "agree": not unequal, "figures": figures})
    return 1 if unequal else 0


if __name__ == "__main__":
    sys.exit(main())
