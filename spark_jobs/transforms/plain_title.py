"""`normalized_title` of one text, by Python alone."""

import re

# As Spark's regular expression in title_text.py.
_WHITE_SPACE = re.compile(r"[\s\x00-\x1f\x7f-\x9f]+")


def normalized_text(title: str) -> str:
    """A title as the table `titles` has it."""
    return _WHITE_SPACE.sub(" ", title.lower()).strip(" ")
