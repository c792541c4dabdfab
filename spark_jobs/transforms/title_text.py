"""When two titles are one: the normalization, and the id that follows from it."""

from pyspark.sql import Column
from pyspark.sql import functions as F

# Unicode's separators, and control characters: tabs, line ends, and the likes of U+0085.
_WHITE_SPACE = r"[\s\p{Z}\p{Cc}]+"


def normalized_title(title: Column) -> Column:
    """Lower case, each run of white space or control characters one blank, none at the edges."""
    return F.trim(F.regexp_replace(F.lower(title), _WHITE_SPACE, " "))


def title_id(normalized_title: Column) -> Column:
    """A stable 64-bit hash, which depends on no order and no day."""
    return F.xxhash64(normalized_title)
