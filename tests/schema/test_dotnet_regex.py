""".NET patterns: translated with .NET's meaning, refused with a reason, and never endless."""

from __future__ import annotations

import time

import pytest

from shared.schema.expressions import EvaluationContext, ExpressionError, compile_expression
from shared.schema.expressions.dotnet_regex import PatternError, compile_pattern


@pytest.mark.parametrize(
    ("pattern", "text", "matches"),
    [
        (r"^\d{3}$", "\u0661\u0662\u0663", True),
        (r"(?i)STRASSE", "stra\u00dfe", False),
        (r"a(?i)b", "aB", True),
        (r"a(?i)b", "AB", False),
        (r"(?i:a)b", "Ab", True),
        (r"^[a-z-[aeiou]]+$", "xyz", True),
        (r"^[a-z-[aeiou]]+$", "xaz", False),
        (r"[[:]", "[", True),
        (r"[a&&b]", "&", True),
        (r"^[\w.-]+$", "a.b-c", True),
        (r"a{,2}", "a{,2}", True),
        (r"a{e}", "a{e}", True),
        (r"^a{2,}$", "aaa", True),
        (r"\p{IsCyrillic}", "\u0416", True),
        (r"\p{IsGreek}|\p{Lu}", "x", False),
        (r"\P{L}", "1", True),
        (r"^a\Z", "a\n", True),
        (r"^a\z", "a\n", False),
        (r"(?'quote'[~'])x\k<quote>", "'x'", True),
        (r"(?<a>x)(y)\1", "xyy", True),
        (r"(?<a>x)(y)\2", "xyx", True),
        (r"(?<a>x)?(?(a)y|z)", "z", True),
        (r"\x41\u0042\103\e?", "ABC", True),
        (r"(?# comment )a", "a", True),
        (r"(?x) a b # end", "ab", True),
        (r"(?<=a+)b", "aab", True),
        (r"[^\]]", "]", False),
        (r"\@contoso\.com$", "ann@contoso.com", True),
    ],
)  # fmt: skip
def test_a_pattern_means_what_it_means_in_dotnet(pattern: str, text: str, matches: bool) -> None:
    assert compile_pattern(pattern).matches(text, 1) is matches


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        (r"(?<open-close>x)", "balancing"),
        (r"(?n)(a)", "explicit capture"),
        (r"(?(?=a)b|c)", "condition"),
        (r"a++", "nested quantifier"),
        (r"(?R)", "unknown inline option"),
        (r"(?P<a>x)", "not part of .NET"),
        (r"(?|a|b)", "not part of .NET"),
        (r"\Kx", "unrecognized escape"),
        (r"\p{IsAtlantis}", "unknown category"),
        (r"\k<none>", "undefined group"),
        (r"[a", "not closed"),
        (r"(a", "not a valid"),
        (r"a)", "too many closing"),
        ("a\\", "ends with a backslash"),
        (r"(((a{1000}){1000}){1000})", "unroll"),
        (r"a{99999}", "unroll"),
    ],
)
def test_what_cannot_be_translated_is_refused_with_its_reason(pattern: str, reason: str) -> None:
    with pytest.raises(PatternError, match=reason):
        compile_pattern(pattern)


@pytest.mark.parametrize(
    ("replacement", "expected"),
    [
        ("${b}-$1", "y-x!"),
        ("$$1", "$1!"),
        ("[$&]", "[xy]!"),
        ("$`|$'", "|!!"),
        ("${none}", "${none}!"),
        ("$9", "$9!"),
        ("$+", "y!"),
        ("$2", "y!"),
    ],
)
def test_substitutions_follow_dotnet(replacement: str, expected: str) -> None:
    assert compile_pattern(r"(x)(?<b>y)").replace("xy!", replacement, 1) == expected


@pytest.mark.parametrize("pattern", [r"(a+)+b$|(a|aa)+$", r"([a-zA-Z]+)*$", r"(a|a?)+$"])
def test_a_catastrophic_pattern_ends_in_time_with_an_error(pattern: str) -> None:
    text = f'Replace([x], , "{pattern}", , "", , )'
    started = time.monotonic()
    with pytest.raises(ExpressionError, match="did not finish in time") as caught:
        compile_expression(text).evaluate({"x": "a" * 5000 + "!"}, EvaluationContext(regex_seconds=0.1))
    assert time.monotonic() - started < 5
    assert (caught.value.function, caught.value.argument) == ("Replace", "RegularExpression")
