r""".NET regular expressions, translated for the ``regex`` engine and run under a time limit.

Source of the language: "Regular expression language - quick reference" and "Substitutions in regular expressions", .NET docs.

Translated: ``(?'n'...)``, ``\k<n>``, ``\z``, ``\Z``, ``\e``, ``\cX``, block names such as ``\p{IsGreek}``, class subtraction
``[a-z-[aeiou]]``, literal braces, numbers of unnamed groups (named groups are numbered after them), ``$1``, ``${n}``, ``$&``
and the other substitutions. Refused, with the reason: balancing groups, ``(?n)``, conditions on an expression, and whatever
.NET itself does not know (recursion, possessive quantifiers, ``\R``, ``\K`` ...).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import regex

if TYPE_CHECKING:
    from collections.abc import Callable

from .dotnet_pattern import PatternError, Translation, group_numbers

__all__ = ["Pattern", "PatternError", "compile_pattern"]

_SUBSTITUTION = regex.compile(r"\$(?:(\$)|\{([^}]+)\}|([0-9]+)|([&`'+_]))")


@dataclass(frozen=True, slots=True)
class Pattern:
    """A compiled .NET pattern. ``groups`` maps .NET's group names and numbers to the engine's group numbers."""

    compiled: regex.Pattern[str]
    groups: dict[str, int]

    def matches(self, text: str, seconds: float) -> bool:
        """``Regex.IsMatch``: anywhere in the text. Raises :class:`PatternError` when the time is over."""
        return self._timed(lambda: self.compiled.search(text, timeout=seconds)) is not None

    def first(self, text: str, seconds: float) -> regex.Match[str] | None:
        """``Regex.Match``."""
        return self._timed(lambda: self.compiled.search(text, timeout=seconds))

    def replace(self, text: str, replacement: str, seconds: float) -> str:
        """``Regex.Replace`` with .NET's substitutions."""
        parts = self._substitutions(replacement)
        return self._timed(lambda: self.compiled.sub(lambda found: "".join(part(found) for part in parts), text, timeout=seconds))

    def replace_group(self, text: str, group: str, replacement: str, seconds: float) -> str:
        """In every match, replace the span of one group; matches in which the group took no part stay."""
        number = self.group(group)

        def whole(found: regex.Match[str]) -> str:
            start, end = found.span(number)
            if start < 0:
                return str(found.group())
            return text[found.start() : start] + replacement + text[end : found.end()]

        return self._timed(lambda: self.compiled.sub(whole, text, timeout=seconds))

    def group(self, name: str) -> int:
        """The engine's number of a group. Raises :class:`PatternError` for a name that the pattern does not have."""
        if name not in self.groups:
            raise PatternError(f'the pattern has no group "{name}"')
        return self.groups[name]

    @staticmethod
    def _timed[T](work: Callable[[], T]) -> T:
        try:
            return work()
        except TimeoutError as error:
            raise PatternError("the pattern did not finish in time on this value: it backtracks without end") from error
        except MemoryError as error:
            raise PatternError("the pattern needs too much memory on this value") from error

    def _substitutions(self, replacement: str) -> list[Callable[[regex.Match[str]], str]]:
        parts: list[Callable[[regex.Match[str]], str]] = []
        place = 0
        for found in _SUBSTITUTION.finditer(replacement):
            parts.extend((_literal(replacement[place : found.start()]), self._substitution(found)))
            place = found.end()
        parts.append(_literal(replacement[place:]))
        return parts

    def _substitution(self, found: regex.Match[str]) -> Callable[[regex.Match[str]], str]:
        dollar, name, number, sign = found.groups()
        key = name or number
        if dollar:
            return _literal("$")
        if key is not None:
            # .NET keeps a reference to a group that does not exist as literal text.
            return _group(self.groups[key]) if key in self.groups else _literal(str(found.group()))
        match sign:
            case "&":
                return _group(0)
            case "`":
                return lambda match: str(match.string[: match.start()])
            case "'":
                return lambda match: str(match.string[match.end() :])
            case "_":
                return lambda match: str(match.string)
            case _:
                return _group(max(self.groups.values()))


def _literal(text: str) -> Callable[[regex.Match[str]], str]:
    return lambda _found: text


def _group(number: int) -> Callable[[regex.Match[str]], str]:
    return lambda found: found.group(number) or ""


@lru_cache(maxsize=512)
def compile_pattern(pattern: str) -> Pattern:
    """Translate and compile a .NET pattern. Raises :class:`PatternError`."""
    translation = Translation(pattern)
    translated = translation.run()
    try:
        # V1 scopes inline options as .NET does; full case-folding ("ss" = "ß") is not .NET's.
        compiled = regex.compile("(?-f)" + translated, regex.V1)
    except (regex.error, OverflowError, RecursionError) as error:
        raise PatternError(f"not a valid .NET regular expression: {error}") from error
    return Pattern(compiled, group_numbers(translation.groups))
