"""The commands of a guide, run from its first line to its last, on a tiny lake with other names.

A `Guide` is one page of docs/ with a small table of what stands for its names. A command is never
left out in silence: what takes a cluster, a GPU or minutes is parsed, and `only_parsed` says why.
"""

import re
import shlex
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

DOCS = Path(__file__).parents[1] / "docs"


@dataclass(frozen=True)
class Guide:
    """A page, and what a tiny lake has in place of the demo's days, models and sizes.

    words        by a word of the page, the word that is run
    more         by the begin of a command, options that make it small
    only_parsed  by the begin of a command, why it is parsed and not run
    """

    page: str
    words: Mapping[str, str] = field(default_factory=dict)
    more: Mapping[str, str] = field(default_factory=dict)
    only_parsed: Mapping[str, str] = field(default_factory=dict)

    def lines(self) -> Iterator[tuple[list[str], bool]]:
        """(the words of a command as it is to be run, whether it is run) in the page's order."""
        for words in shell_lines(self.page):
            line = shlex.join(words)
            added = [more for begin, more in self.more.items() if line.startswith(begin)]
            is_run = not any(line.startswith(begin) for begin in self.only_parsed)
            words = [self.words.get(word, word) for word in words]
            yield words + shlex.split(" ".join(added)), is_run


def page_text(name: str) -> str:
    return (DOCS / name).read_text()


def shell_lines(name: str) -> list[list[str]]:
    """The words of each indented command line of a page, without its comment and `.venv/bin/`."""
    text = page_text(name).replace("\\\n", " ")
    command = r"^ {4,8}(?:\.venv/bin/)?(userbert [a-z][a-z-]*(?: .+)?|torchrun .+)$"
    return [shlex.split(line, comments=True) for line in re.findall(command, text, re.MULTILINE)]


def userbert_lines(name: str) -> list[list[str]]:
    """The words behind `userbert` of each command line of a page."""
    return [words[1:] for words in shell_lines(name) if words[0] == "userbert" and words[1:]]


def follow(
    guide: Guide, run: Callable[[list[str]], str], parse: Callable[[list[str]], None]
) -> list[tuple[str, str]]:
    """Run or parse every command of the page; (the command, what it printed) of those run."""
    printed = []
    for words, is_run in guide.lines():
        if is_run:
            printed.append((shlex.join(words), run(words)))
        else:
            parse(words)
    return printed
