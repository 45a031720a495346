"""Functions on text. Sources: the function reference named in :mod:`.syntax`; .NET docs for casing and ToTitleCase."""

from __future__ import annotations

import base64
import json
import re
import unicodedata
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from shared.schema.values import Value, is_empty, items_of, text_of

from .functions import Arguments, Function, Outcome, Parameter

if TYPE_CHECKING:
    from collections.abc import Callable

_CULTURE = re.compile(r"[A-Za-z]{2,3}(-[A-Za-z]{4})?(-([A-Za-z]{2}|[0-9]{3}))?")
_DOTTED_LANGUAGES = frozenset({"tr", "az"})
_DOTLESS_I = "\N{LATIN SMALL LETTER DOTLESS I}"
_DOTTED_I = "\N{LATIN CAPITAL LETTER I WITH DOT ABOVE}"
_TURKISH_LOWER = {"I": _DOTLESS_I, _DOTTED_I: "i"}
_TURKISH_UPPER = {"i": _DOTTED_I, _DOTLESS_I: "I"}
_COMPARES = frozenset({"vbTextCompare", "vbBinaryCompare"})
_LETTERS = frozenset({"Lu", "Ll", "Lt", "Lm", "Lo"})
_INSIDE_WORDS = _LETTERS | {"Mn", "Mc", "Me", "Nd", "Nl", "No", "Cs", "Co", "Cn"}


def _append(arguments: Arguments) -> Outcome:
    source = arguments.text("source")
    return None if source is None else source + (arguments.text("suffix") or "")


def _prepend(arguments: Arguments) -> Outcome:
    source = arguments.text("source")
    return None if source is None else (arguments.text("prefix") or "") + source


def _join(arguments: Arguments) -> Outcome:
    separator = arguments.text("separator") or ""
    items = (item for value in arguments.values("source") for item in items_of(value))
    return separator.join(text_of(item) for item in items if not is_empty(item))


def _left(arguments: Arguments) -> Outcome:
    source = arguments.text("source") or ""
    count = arguments.required_integer("numChars")
    return source if count < 0 else source[:count]


def _mid(arguments: Arguments) -> Outcome:
    source = arguments.text("source")
    start = arguments.required_integer("start")
    length = arguments.required_integer("length")
    if start < 1:
        raise arguments.fail("must be 1 or more", "start")
    if length < 0:
        raise arguments.fail("must not be negative", "length")
    return None if source is None else source[start - 1 : start - 1 + length]


def _len(arguments: Arguments) -> Outcome:
    return len(arguments.text("source") or "")


def _in_str(arguments: Arguments) -> Outcome:
    text, sought = arguments.text("value1"), arguments.text("value2")
    start = arguments.integer("start")
    if start is not None and start < 1:
        raise arguments.fail("must be 1 or more", "start")
    if text is None or sought is None:
        return 0
    if arguments.text("compareType") == "vbTextCompare":
        text, sought = lower(text, ""), lower(sought, "")
    return text.find(sought, (start or 1) - 1) + 1


def _word(arguments: Arguments) -> Outcome:
    text, delimiters = arguments.text("source") or "", arguments.text("delimiters") or ""
    number = arguments.required_integer("wordNumber")
    pattern = f"[{re.escape(delimiters)}]+" if delimiters else None
    words = [word for word in (re.split(pattern, text) if pattern else [text]) if word]
    return words[number - 1] if 1 <= number <= len(words) else ""


def _strip_spaces(arguments: Arguments) -> Outcome:
    source = arguments.text("source")
    return None if source is None else source.replace(" ", "")


def _culture(arguments: Arguments) -> str:
    culture = arguments.text("culture") or ""
    if culture and _CULTURE.fullmatch(culture) is None:
        raise arguments.fail("is not a culture name such as en-US (RFC 4646)", "culture")
    return culture.partition("-")[0].lower()


def lower(text: str, language: str) -> str:
    """.NET's ToLower: letter by letter, never changing the length; only Turkish and Azeri tell I with and without a dot."""
    return _cased(text, _TURKISH_LOWER if language in _DOTTED_LANGUAGES else {}, str.lower)


def upper(text: str, language: str) -> str:
    """.NET's ToUpper: letter by letter; a sharp s stays, and so does a dotless i outside Turkish and Azeri."""
    return _cased(text, _TURKISH_UPPER if language in _DOTTED_LANGUAGES else {_DOTLESS_I: _DOTLESS_I}, str.upper)


def _cased(text: str, special: dict[str, str], case: Callable[[str], str]) -> str:
    return "".join(special.get(letter) or _simple(letter, case(letter)) for letter in text)


def _simple(letter: str, mapped: str) -> str:
    return mapped if len(mapped) == 1 else letter


def _to_lower(arguments: Arguments) -> Outcome:
    source, language = arguments.text("source"), _culture(arguments)
    return None if source is None else lower(source, language)


def _to_upper(arguments: Arguments) -> Outcome:
    source, language = arguments.text("source"), _culture(arguments)
    return None if source is None else upper(source, language)


def _p_case(arguments: Arguments) -> Outcome:
    source = arguments.text("source")
    if source is None:
        return None
    separators = arguments.text("wordSeparators")
    lowered = lower(source, "")
    return _title_case(lowered) if separators is None else _capitals_after(lowered, separators)


def _capitals_after(text: str, separators: str) -> str:
    before = [True, *(letter in separators for letter in text)]
    return "".join(upper(letter, "") if starts else letter for letter, starts in zip(text, before, strict=False))


def _title_case(text: str) -> str:
    """TextInfo.ToTitleCase of the invariant culture: the first letter of each word; an apostrophe does not end a word."""
    out: list[str] = []
    in_word = False
    for letter in text:
        category = unicodedata.category(letter)
        if not in_word and category in _LETTERS:
            out.append(upper(letter, ""))
            in_word = True
            continue
        out.append(letter)
        in_word = in_word and (letter == "'" or category in _INSIDE_WORDS)
    return "".join(out)


@cache
def _diacritics() -> dict[str, str]:
    """Decomposed sequence -> replacement, from the function reference's table."""
    table: dict[str, list[str]] = json.loads((Path(__file__).parent / "diacritics.json").read_text("utf-8"))
    return {unicodedata.normalize("NFD", sequence): plain for plain, sequences in table.items() for sequence in sequences}


def _normalize_diacritics(arguments: Arguments) -> Outcome:
    source = arguments.text("source")
    return None if source is None else "".join(_plain(cluster) for cluster in _clusters(source))


def _clusters(text: str) -> list[str]:
    """Each character together with the combining marks that follow it."""
    clusters: list[str] = []
    for character in text:
        if clusters and unicodedata.combining(character):
            clusters[-1] += character
        else:
            clusters.append(character)
    return clusters


def _plain(cluster: str) -> str:
    """The table's answer for the longest beginning that it lists; what it does not list stays as it was."""
    table = _diacritics()
    decomposed = unicodedata.normalize("NFD", cluster)
    for length in range(len(decomposed), 0, -1):
        plain = table.get(decomposed[:length])
        if plain is not None:
            return plain + decomposed[length:]
    return cluster


def _convert_to_base64(arguments: Arguments) -> Outcome:
    source = arguments.text("source")
    return None if source is None else base64.b64encode(source.encode("utf-16-le", "surrogatepass")).decode("ascii")


def _convert_to_utf8_hex(arguments: Arguments) -> Outcome:
    source = arguments.text("source")
    return None if source is None else source.encode("utf-8", "surrogatepass").hex().upper()


def _c_str(arguments: Arguments) -> Outcome:
    return arguments.text("value")


def _redact(arguments: Arguments) -> Value:
    return arguments.value("value")


_SOURCE = Parameter("source")

FUNCTIONS = (
    Function("Append", (_SOURCE, Parameter("suffix")), _append),
    Function("Prepend", (Parameter("prefix"), _SOURCE), _prepend, documented=False),
    Function("Join", (Parameter("separator"), Parameter("source", repeated=True)), _join),
    Function("Left", (_SOURCE, Parameter("numChars", "Integer")), _left),
    Function("Mid", (_SOURCE, Parameter("start", "Integer"), Parameter("length", "Integer")), _mid),
    Function("Len", (_SOURCE,), _len),
    Function(
        "InStr",
        (
            Parameter("value1"),
            Parameter("value2"),
            Parameter("start", "Integer", required=False),
            Parameter("compareType", required=False, words=_COMPARES),
        ),
        _in_str,
    ),
    Function("Word", (_SOURCE, Parameter("wordNumber", "Integer"), Parameter("delimiters")), _word),
    Function("StripSpaces", (_SOURCE,), _strip_spaces),
    Function("ToLower", (_SOURCE, Parameter("culture", required=False)), _to_lower),
    Function("ToUpper", (_SOURCE, Parameter("culture", required=False)), _to_upper),
    Function("PCase", (_SOURCE, Parameter("wordSeparators", required=False)), _p_case),
    Function("NormalizeDiacritics", (_SOURCE,), _normalize_diacritics),
    Function("ConvertToBase64", (_SOURCE,), _convert_to_base64),
    Function("ConvertToUTF8Hex", (_SOURCE,), _convert_to_utf8_hex),
    Function("CStr", (Parameter("value"),), _c_str),
    Function("Redact", (Parameter("value", result=True),), _redact),
)
