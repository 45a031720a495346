"""How ServiceNow compares strings: its database ignores case, accents and trailing blanks.

Which collation an instance uses is not documented, so equality here is at least as broad as MySQL's ``general_ci`` and
``unicode_ci`` families: a row that the instance rightly returned is never taken for a wrong one. Source: MySQL reference manual,
"Unicode Character Sets"; the ServiceNow documentation itself calls values case-sensitive, practitioners find the opposite.
"""

from __future__ import annotations

import unicodedata
from functools import lru_cache

_BASE_LETTERS = str.maketrans(
    {"ø": "o", "ł": "l", "đ": "d", "ð": "d", "ħ": "h", "\N{LATIN SMALL LETTER DOTLESS I}": "i", "æ": "ae", "œ": "oe", "þ": "th"},
)
# general_ci has one weight for every character beyond the basic plane: all emoji are equal to it.
_BEYOND_BASIC_PLANE = "\N{REPLACEMENT CHARACTER}"
_LAST_OF_BASIC_PLANE = 0xFFFF


def collates(left: str, right: str) -> bool:
    """Whether the instance may hold the two strings equal."""
    return left == right or fold(left) == fold(right) or _fold_general(left) == _fold_general(right)


@lru_cache(maxsize=8192)
def fold(value: str) -> str:
    """The string without case, accents, ignorable characters and trailing blanks; ``ß`` is ``ss``."""
    return _without_accents(value).casefold().translate(_BASE_LETTERS).rstrip(" ")


@lru_cache(maxsize=8192)
def _fold_general(value: str) -> str:
    single = "".join(c if ord(c) <= _LAST_OF_BASIC_PLANE else _BEYOND_BASIC_PLANE for c in value)
    return fold(single.replace("ß", "s").replace("ẞ", "s"))


def _without_accents(value: str) -> str:
    return "".join(c for c in unicodedata.normalize("NFKD", value) if unicodedata.category(c) not in {"Mn", "Cf"})
