"""Replace: five functions in one, told apart by which arguments are given.

    oldValue, replacement            every occurrence of the old value
    oldValue, template               the source's text is put into the template where the old value stands
    pattern, replacement             .NET Regex.Replace
    pattern, group, replacement      only the group's span in each match
    pattern, group, other attribute  the source if it has a value, else the group taken from the other attribute

Source: the function reference named in :mod:`.syntax`.
"""

from __future__ import annotations

from .dotnet_regex import Pattern, compile_pattern
from .functions import MAX_TEXT, Arguments, Function, Outcome, Parameter
from .syntax import Node, Omitted

_OLD_SPELLING = 5


def _replace(arguments: Arguments) -> Outcome:
    source = arguments.text("source")
    if arguments.given("Find"):
        return _replace_text(arguments, source)
    if not arguments.given("RegularExpression"):
        raise arguments.fail("needs an old value or a regular expression")
    if arguments.given("ReplacementPropertyName"):
        return source or _taken_from(arguments)
    return None if source is None else _replace_pattern(arguments, source)


def _replace_text(arguments: Arguments, source: str | None) -> Outcome:
    old = arguments.text("Find") or ""
    if not old:
        raise arguments.fail("must not be empty", "Find")
    if arguments.given("Template"):
        return None if source is None else _swapped(arguments, arguments.text("Template") or "", old, source)
    if not arguments.given("Replacement"):
        raise arguments.fail("needs a replacement or a template")
    return None if source is None else _swapped(arguments, source, old, arguments.text("Replacement") or "")


def _swapped(arguments: Arguments, text: str, old: str, new: str) -> str:
    length = len(text) + text.count(old) * (len(new) - len(old))
    if length > MAX_TEXT:
        raise arguments.fail(f"makes a text of {length:,} characters, more than the {MAX_TEXT:,} that a function gives")
    return text.replace(old, new)


def _replace_pattern(arguments: Arguments, source: str) -> Outcome:
    if not arguments.given("Replacement"):
        raise arguments.fail("needs a replacement value or an attribute")
    pattern, seconds = _pattern(arguments), arguments.scope.context.regex_seconds
    replacement = arguments.text("Replacement") or ""
    group = arguments.text("RegularExpressionGroupName")
    if group:
        return arguments.attempt(
            "RegularExpressionGroupName" if group not in pattern.groups else "RegularExpression",
            lambda: pattern.replace_group(source, group, replacement, seconds),
        )
    return arguments.attempt("RegularExpression", lambda: pattern.replace(source, replacement, seconds))


def _taken_from(arguments: Arguments) -> Outcome:
    other = arguments.text("ReplacementPropertyName")
    group = arguments.text("RegularExpressionGroupName")
    if not group:
        raise arguments.fail("needs the name of the group to take from the attribute")
    pattern, seconds = _pattern(arguments), arguments.scope.context.regex_seconds
    number = arguments.attempt("RegularExpressionGroupName", lambda: pattern.group(group))
    if other is None:
        return None
    found = arguments.attempt("RegularExpression", lambda: pattern.first(other, seconds))
    taken = found.group(number) if found is not None else None
    return None if taken is None else str(taken)


def _pattern(arguments: Arguments) -> Pattern:
    text = arguments.text("RegularExpression") or ""
    if not text:
        raise arguments.fail("must not be empty", "RegularExpression")
    return arguments.attempt("RegularExpression", lambda: compile_pattern(text))


def _arrange(arguments: tuple[Node, ...]) -> tuple[Node, ...]:
    """Graph's parseExpression sample writes the replacement fourth, after an old value and an omitted pattern."""
    if len(arguments) != _OLD_SPELLING:
        return arguments
    source, old, pattern, fourth, fifth = arguments
    is_old = isinstance(pattern, Omitted) and isinstance(fifth, Omitted)
    if is_old and not isinstance(old, Omitted) and not isinstance(fourth, Omitted):
        return (source, old, pattern, fifth, fourth)
    return arguments


FUNCTION = Function(
    "Replace",
    (
        Parameter("source"),
        Parameter("Find", required=False),
        Parameter("RegularExpression", required=False),
        Parameter("RegularExpressionGroupName", required=False),
        Parameter("Replacement", required=False),
        Parameter("ReplacementPropertyName", required=False),
        Parameter("Template", required=False),
    ),
    _replace,
    arrange=_arrange,
)
