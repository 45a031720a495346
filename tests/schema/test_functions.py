"""Edge cases of every function, beyond the documented ones."""

from __future__ import annotations

import unicodedata
import uuid
from datetime import UTC, datetime
from random import Random
from typing import TYPE_CHECKING, Literal

import pytest

from shared.schema.expressions import IGNORE_FLOW, EvaluationContext, ExpressionError, Flow, compile_expression

if TYPE_CHECKING:
    from shared.schema.values import Value

SOURCE: dict[str, Value] = {
    "name": "Ann Smith",
    "empty": "",
    "yes": True,
    "no": False,
    "list": ("b", "a", "b"),
    "one": ("only",),
    "number": 7,
    "roles": ("Writer", "Admin"),
    "date": "2025-07-30T10:00:00Z",
    "city": "İstanbul",
}
CONTEXT = EvaluationContext(now=datetime(2025, 7, 30, 15, 4, 5, tzinfo=UTC), default_domain="contoso.com", randomness=Random(1))  # noqa: S311 - repeatable


def value(text: str) -> object:
    return compile_expression(text).evaluate(SOURCE, CONTEXT)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # NULL in, NULL out; where a result is built from parts, NULL is left out
        ('Append([none], "@contoso.com")', None),
        ("Append([name], [none])", "Ann Smith"),
        ('Append([empty], "x")', "x"),
        ("ToLower([none])", None),
        ("ToUpper([none])", None),
        ("PCase([none])", None),
        ("StripSpaces([none])", None),
        ("NormalizeDiacritics([none])", None),
        ("ConvertToBase64([none])", None),
        ("ConvertToUTF8Hex([none])", None),
        ("CStr([none])", None),
        ("CDate([none])", None),
        ("CDate([empty])", None),
        ("Mid([none], 1, 2)", None),
        ("Left([none], 2)", ""),
        ("Left([name], -1)", "Ann Smith"),
        ('Word([none], 1, " ")', ""),
        ('Word([name], 0, " ")', ""),
        ('Word("a,,b", 2, ",")', "b"),
        ('Split([none], ",")', None),
        ('Split("a,,b,", ",")', ("a", "b")),
        ('Replace([none], "a", , , "b", , )', None),
        ('Replace([none], , "a", , "b", , )', None),
        ('Join(", ", [none], [empty], [list])', "b, a, b"),
        ('Join("-", [none])', ""),
        ('DateAdd("d", 1, [none])', None),
        ('DateDiff("d", [none], [date])', None),
        ('FormatDateTime([none], , "yyyy", "yyyy")', None),
        ("NumFromDate([none])", None),
        ("DateFromNum([none])", None),
        ("BitAnd([none], 1)", None),
        ("SingleAppRoleAssignment([none])", None),
        ("RemoveDuplicates([none])", None),
        ("Item([none], 1)", None),
        ("Len([none])", 0),
        ("Count([none])", 0),
        ('InStr([none], "a")', 0),
        # conditions: NULL equals "", orders as nothing
        ('IIF([none] = "", "empty", "filled")', "empty"),
        ('IIF([none] = "x", "a", "b")', "b"),
        ('IIF([none] <> "x", "a", "b")', "a"),
        ('IIF([none] > 1, "a", "b")', "b"),
        ('IIF([none] <= 1, "a", "b")', "b"),
        ('IIF(IsNullOrEmpty([none]), "a", "b")', "a"),
        ('IIF(IsPresent([name]), [name], "b")', "Ann Smith"),
        ('IIF([yes] = "True", "a", "b")', "a"),
        ('IIF([yes], "a", "b")', "a"),
        ('IIF([none], "a", "b")', "b"),
        ('IIF([number] = "7", "a", "b")', "a"),
        ('IIF([number] > 10, "a", "b")', "b"),
        ('IIF("10" > "9", "a", "b")', "a"),
        ('IIF("b" >= "a", "a", "b")', "a"),
        ('IIF("07" = "7", "a", "b")', "b"),
        ('IIF(CDate("2025-02-01") > CDate("2025-01-15"), "later", "earlier")', "later"),
        ('IIF([yes], "a", )', "a"),
        ('IIF([no], "a", )', None),
        # AND, OR and parentheses are ours
        ('IIF([yes] AND [name] = "x" OR [number] = 7, "a", "b")', "a"),
        ('IIF([yes] AND ([name] = "x" OR [number] = 8), "a", "b")', "b"),
        ("CBool([yes] AND [no])", False),
        ("Not([yes] OR [no])", False),
        # Switch
        ('Switch([none], "d", "", "was null")', "was null"),
        ('Switch([yes], , "True", "a", "False", "b")', "a"),
        ('Switch([name], , "x", "y")', None),
        ('Switch([one], , "only", "y")', "y"),
        ('Switch(IsPresent([name]), "d", "True", [name])', "Ann Smith"),
        ('Switch([name], , "Ann Smith", )', None),
        # Coalesce, Is*, Not, CBool
        ("Coalesce([none], [empty], [name])", "Ann Smith"),
        ("Coalesce([none], [empty])", None),
        ("Coalesce([none], [one])", ("only",)),
        ("IsNull([none])", True),
        ("IsNull([empty])", False),
        ("IsString([name])", True),
        ("IsString([number])", False),
        ("IsString([none])", False),
        ("Not([none])", True),
        ('Not("true")', False),
        ("Not([yes])", False),
        ("CBool(0)", False),
        ('CBool("12")', True),
        ("CBool([none])", False),
        # text
        ("Mid([name], 5, 100)", "Smith"),
        ('Mid([name], "1", "3")', "Ann"),
        ("Mid([name], 99, 2)", ""),
        ('InStr("repEated", "e", 3, vbTextCompare)', 4),
        ('InStr("abc", "z")', 0),
        ('InStr("abc", "a", 9)', 0),
        ("Len(1)", 1),
        ("Len(-10)", 3),
        ('StripSpaces(" a b ")', "ab"),
        ("CStr([yes])", "True"),
        ("CStr(42568.75)", "42568.75"),
        ('ConvertToBase64("")', ""),
        ('Prepend("x", [name])', "xAnn Smith"),
        ("IsNothing([none])", True),
        # casing: letter by letter, as .NET
        ("ToLower([city])", "İstanbul"),
        ('ToLower([city], "tr-TR")', "istanbul"),
        ('ToLower("TITLE", "tr-TR")', "t\u0131tle"),
        ('ToUpper("title", "az")', "TİTLE"),
        ('ToUpper("title")', "TITLE"),
        ('ToUpper("stra\u00dfe")', "STRA\u00dfE"),
        ('ToUpper("i", "lt-LT")', "I"),
        ("PCase(\"o'neil van-der berg\")", "O'neil Van-Der Berg"),
        ('PCase("JEAN-LUC", " ")', "Jean-luc"),
        ('PCase("1st floor")', "1St Floor"),
        # lists
        ("Count([list])", 3),
        ("Count([name])", 1),
        ("RemoveDuplicates([list])", ("b", "a")),
        ("Item([list], 2)", "a"),
        ("Item([list], 9)", None),
        ("Item([name], 1)", "Ann Smith"),
        ("SingleAppRoleAssignment([roles])", "Admin"),
        ("AppRoleAssignmentsComplex([roles])", ("Writer", "Admin")),
        ("AssertiveAppRoleAssignmentsComplex([roles])", ("Writer", "Admin")),
        # dates
        ("Now()", "7/30/2025 3:04:05 PM"),
        ('CDate("7/4/2025")', "7/4/2025 12:00:00 AM"),
        ('CDate("7/4/2025 12:30 AM")', "7/4/2025 12:30:00 AM"),
        ('DateAdd("m", 1, "2025-01-31")', "2/28/2025 12:00:00 AM"),
        ('DateAdd("yyyy", "1", "2024-02-29")', "2/28/2025 12:00:00 AM"),
        ('DateAdd("n", -1, "2025-01-01")', "12/31/2024 11:59:00 PM"),
        ('DateDiff("h", "2025-01-01", "2025-01-02")', 24),
        ('DateDiff("d", "2025-01-02T12:00:00Z", "2025-01-01T13:00:00Z")', 0),
        ('DateDiff("ww", "2025-08-02", "2025-08-03")', 1),
        ('NumFromDate("2012-01-01T23:00:00Z")', 129699324000000000),
        ('NumFromDate("2012-01-02 00:00:00+01:00")', 129699324000000000),
        ('FormatDateTime([date], , "yyyy-MM-ddTHH:mm:ssZ", "yyyy-MM-dd")', "2025-07-30"),
        ('FormatDateTime("20250730101112.5Z", , "yyyyMMddHHmmss.fZ", "M/d/yyyy h:mm:ss.f tt")', "7/30/2025 10:11:12.5 AM"),
        ('FormatDateTime("2025-07-30", "yyyy-MM-dd", "dd MMM yyyy")', "30 Jul 2025"),
        ('FormatDateTime(" 2025-07-30 ", , "yyyy-MM-dd", "dddd, MMMM d, yy")', "Wednesday, July 30, 25"),
        ('FormatDateTime("2025-07-30T23:30:00-02:00", , "yyyy-MM-ddTHH:mm:sszzz", "o")', "2025-07-31T01:30:00.0000000Z"),
        # flow
        ("IgnoreFlowIfNullOrEmpty([none])", IGNORE_FLOW),
        ("IgnoreFlowIfNullOrEmpty([name])", "Ann Smith"),
        ("IIF([no], [name], IgnoreFlowIfNullOrEmpty([empty]))", IGNORE_FLOW),
        ("IIF([no], [name], IgnoreAttributeFlow)", IGNORE_FLOW),
        ('Switch([name], IgnoreObjectFlow, "x", "y")', Flow.IGNORE_OBJECT),
        # replace
        ('Replace([name], "nn", , , , , "<nn>")', "<Ann Smith>"),
        ('Replace([name], , "z+", , "!", , )', "Ann Smith"),
        ('Replace([name], , "(?<first>\\w+) (?<last>\\w+)", "last", "X", , )', "Ann X"),
        ('Replace([none], , "(?<a>\\w+)", "a", , [name], )', "Ann"),
        ('Replace([none], , "(?<a>[0-9]+)", "a", , [name], )', None),
        ("DefaultDomain()", "contoso.com"),
    ],
)  # fmt: skip
def test_edge_case(text: str, expected: object) -> None:
    outcome = value(text)
    assert outcome == expected
    assert type(outcome) is type(expected)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Mid([name], 0, 1)", ["Mid", '"start"', "1 or more", "position 13"]),
        ("Mid([name], 1, -1)", ["Mid", '"length"']),
        ("Left([name], [name])", ["Left", '"numChars"', "whole number"]),
        ("Left([name], [none])", ["Left", '"numChars"', "no value"]),
        ("Item([list], 0)", ["Item", '"index"', "1 or more"]),
        ("ToLower([list])", ["ToLower", '"source"', "list of 3 values"]),
        ('IIF([list] = "a", "x", "y")', ["list of 3 values cannot be compared"]),
        ('IIF([name], "x", "y")', ["IIF", '"condition"', "neither True nor False"]),
        ('IIF([name] AND [yes], "x", "y")', ["neither True nor False"]),
        ('ToLower([name], "not a culture")', ["ToLower", '"culture"', "RFC 4646"]),
        ("CDate([name])", ["CDate", '"expression"', "not a date"]),
        ('CDate("2025-02-30")', ["CDate", "not a valid date"]),
        ('DateAdd("q", 1, [date])', ["DateAdd", '"interval"', "yyyy, m, d"]),
        ('DateAdd("yyyy", 9000, [date])', ["DateAdd", '"value"', "out of range"]),
        ('DateAdd("d", 99999999999, [date])', ["DateAdd", '"value"']),
        ('FormatDateTime([date], , "g", "x")', ["FormatDateTime", '"inputFormat"']),
        ('FormatDateTime([name], , "yyyy", "yyyy")', ["FormatDateTime", '"inputFormat"', "does not have the format"]),
        ('FormatDateTime("2025", "Sloppy", "yyyy", "yyyy")', ["FormatDateTime", '"dateTimeStyles"', "Sloppy"]),
        ('FormatDateTime("2025", , "yyyy", "yyyy gg")', ["FormatDateTime", '"outputFormat"', "eras"]),
        ('Replace([name], "", , , "x", , )', ["Replace", '"Find"', "empty"]),
        ('Replace([name], , , , "x", , )', ["Replace", "old value or a regular expression"]),
        ('Replace([name], "a", , , , , )', ["Replace", "replacement or a template"]),
        ('Replace([name], , "(?<a>.)", "b", "x", , )', ["Replace", '"RegularExpressionGroupName"', 'no group "b"']),
        ("RandomString(3, 2, 2, 0, 0)", ["RandomString", '"length"', "minima"]),
        ("RandomString(999, 0, 0, 0, 0)", ["RandomString", '"length"', "256"]),
        ('RandomString(8, 1, 0, 0, 0, "0123456789")', ["RandomString", '"minimumNumbers"']),
    ],
)
def test_a_failure_names_function_argument_and_reason_but_no_value(text: str, words: list[str]) -> None:
    with pytest.raises(ExpressionError) as caught:
        value(text)
    for word in words:
        assert word in caught.value.reason
    assert "Ann" not in caught.value.reason


def test_only_the_branch_that_is_taken_is_evaluated() -> None:
    assert value('IIF([yes], "fine", CDate("nonsense"))') == "fine"
    assert value('Switch([yes], CDate("nonsense"), "True", "fine")') == "fine"
    assert value('Coalesce([name], CDate("nonsense"))') == "Ann Smith"


def test_select_unique_value_takes_the_first_free_candidate_and_fails_when_none_is() -> None:
    expression = compile_expression('SelectUniqueValue([none], ToLower([name]), Append([name], "1"))')
    assert expression.unique
    assert expression.candidates(SOURCE) == ("ann smith", "Ann Smith1")
    free = EvaluationContext(target_taken={"ann smith"}.__contains__)
    assert expression.evaluate(SOURCE, free) == "Ann Smith1"
    with pytest.raises(ExpressionError, match="each of the 2 candidates") as caught:
        expression.evaluate(SOURCE, EvaluationContext(target_taken=lambda _value: True))
    assert caught.value.code == "EntryConflict"


def test_guid_and_random_string_come_from_the_given_randomness() -> None:
    first, second = (EvaluationContext(randomness=Random(5)) for _ in range(2))  # noqa: S311 - repeatable
    guid = compile_expression("Guid()").evaluate({}, first)
    assert guid == compile_expression("Guid()").evaluate({}, second)
    assert uuid.UUID(str(guid)).version == 4


def test_a_random_string_meets_its_minima_and_avoids_what_it_must() -> None:
    text = str(value('RandomString(40, 5, 4, 3, 2, "aeiou01")'))
    assert len(text) == 40
    assert sum(letter.isdigit() for letter in text) >= 5
    assert sum(not letter.isalnum() for letter in text) >= 4
    assert sum(letter.isupper() for letter in text) >= 3
    assert sum(letter.islower() for letter in text) >= 2
    assert not set(text) & set("aeiou01")


def test_default_domain_without_a_tenant_is_an_error() -> None:
    with pytest.raises(ExpressionError, match="default verified domain"):
        compile_expression("DefaultDomain()").evaluate({})


def test_volatile_expressions_say_so() -> None:
    assert compile_expression("Join([a], Now())").volatile
    assert not compile_expression("Join([a], [b])").volatile


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_diacritics_are_normalized_in_both_unicode_forms(form: Literal["NFC", "NFD"]) -> None:
    text = unicodedata.normalize(form, "Łukasz Ångström Ǟ Ṝ ǣ Đurić")
    expected = unicodedata.normalize(form, "Lukasz Angstrom A R ae Đuric")
    assert compile_expression("NormalizeDiacritics([x])").evaluate({"x": text}) == expected


def test_unlisted_letters_and_marks_stay() -> None:
    text = "œ đ þ x\u0323 한국"
    assert compile_expression("NormalizeDiacritics([x])").evaluate({"x": text}) == text


def test_nested_replacements_cannot_fill_the_memory() -> None:
    text = "[name]"
    for _ in range(12):
        text = f'Replace({text}, "n", , , "{"n" * 20}", , )'
    with pytest.raises(ExpressionError, match="100,000"):
        value(text)
