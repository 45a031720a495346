"""Grammar: what parses, what is refused and where."""

from __future__ import annotations

import pytest
from hypothesis import given, settings, strategies as st

from shared.schema.expressions import ExpressionError, compile_expression
from shared.schema.expressions.parser import MAX_DEPTH, MAX_LENGTH, parse
from shared.schema.expressions.syntax import (
    Attribute,
    Call,
    Comparator,
    Comparison,
    Connective,
    Constant,
    Logical,
    Node,
    Number,
    Omitted,
    Word,
    unparse,
)

FRAGMENTS = [
    "IIF",
    "(",
    ")",
    ",",
    "[a]",
    '"x"',
    "\\",
    '"',
    "[",
    "]",
    "=",
    "<>",
    "AND",
    "OR",
    "1",
    "-",
    "&H",
    "Mid",
    " ",
    "\n",
    ".",
]

names = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,8}", fullmatch=True).filter(lambda name: name not in {"AND", "OR"})
leaves: st.SearchStrategy[Node] = st.one_of(
    st.text(st.characters(exclude_characters="]"), min_size=1).map(str.strip).filter(bool).map(Attribute),
    st.text().map(Constant),
    st.from_regex(r"-?[0-9]{1,6}(\.[0-9]{1,3})?|&H[0-9A-F]{1,4}", fullmatch=True).map(Number),
    names.map(Word),
)


@st.composite
def trees(draw: st.DrawFn, depth: int = 3) -> Node:
    """A tree of calls, with comparisons and AND/OR where arguments stand."""
    if depth == 0 or draw(st.booleans()):
        return draw(leaves)
    count = draw(st.integers(0, 3))
    arguments = tuple(draw(arguments_below(depth - 1)) for _ in range(count))
    return Call(draw(names), () if arguments == (Omitted(),) else arguments)


@st.composite
def arguments_below(draw: st.DrawFn, depth: int) -> Node:
    match draw(st.sampled_from(["node", "omitted", "comparison", "logical"])):
        case "omitted":
            return Omitted()
        case "comparison":
            operators: list[Comparator] = ["=", "<>", ">", ">=", "<", "<="]
            return Comparison(draw(st.sampled_from(operators)), draw(trees(depth)), draw(trees(depth)))
        case "logical" if depth:
            connectives: list[Connective] = ["AND", "OR"]
            terms = tuple(draw(arguments_below(depth - 1)) for _ in range(draw(st.integers(2, 3))))
            kept = tuple(Constant("") if isinstance(term, Omitted) else term for term in terms)
            return Logical(draw(st.sampled_from(connectives)), kept)
        case _:
            return draw(trees(depth))


@given(trees())
@settings(max_examples=150, deadline=None)
def test_a_printed_tree_parses_to_the_same_tree(tree: Node) -> None:
    assert parse(unparse(tree)) == tree


@given(st.one_of(st.text(max_size=60), st.lists(st.sampled_from(FRAGMENTS), max_size=25).map("".join)))
@settings(max_examples=400, deadline=None)
def test_no_text_breaks_the_parser(text: str) -> None:
    faults: list[ExpressionError] = []
    try:
        compile_expression(text)
    except ExpressionError as error:
        faults.append(error)
    assert all(fault.position is None or 1 <= fault.position <= len(text) + 1 for fault in faults)


@given(st.text(max_size=40))
@settings(max_examples=200, deadline=None)
def test_any_text_survives_as_a_constant(text: str) -> None:
    assert compile_expression(unparse(Constant(text))).evaluate({}) == text


@pytest.mark.parametrize(
    ("text", "position"),
    [
        ("", 1),
        ("Mid([x], 1, 2", 14),
        ("[mail", 1),
        ('Append([a], "b)', 13),
        ("[a] [b]", 5),
        ("[]", 1),
        ("Append([a];[b])", 11),
        ("([a])", 1),
        ("[a] = [b]", 5),
    ],
)
def test_a_syntax_fault_names_its_position(text: str, position: int) -> None:
    with pytest.raises(ExpressionError) as caught:
        compile_expression(text)
    assert caught.value.position == position


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("tolower([a])", ["tolower", "case-sensitive", "ToLower"]),
        ("Frobnicate([a])", ["Frobnicate", "unknown function"]),
        ("Mid([a], 1)", ["Mid", '"length"', "missing"]),
        ("Left([a], 1, 2)", ["Left", "takes 2 arguments, 3 are given", "position 14"]),
        ('Left([a], "two")', ["Left", '"numChars"', "whole number", "position 11"]),
        ("Append(, [a])", ["Append", '"source"', "missing"]),
        ('Switch([a], "d", "k")', ["Switch", "pairs"]),
        ('Switch([a], "d")', ["Switch", "pairs"]),
        ("Append(userPrincipalName, [a])", ["no keyword", "[userPrincipalName]"]),
        ("Append([a], [b] = [c])", ["Append", "comparison", "position 13"]),
        ("ToLower(IgnoreFlowIfNullOrEmpty([a]))", ["IgnoreFlowIfNullOrEmpty", "outermost"]),
        ('IIF(IgnoreFlowIfNullOrEmpty([a]) = "x", "a", "b")', ["IgnoreFlowIfNullOrEmpty", "outermost"]),
        ('IIF([a] = "x", SelectUniqueValue([a], [b]), "b")', ["SelectUniqueValue", "outermost"]),
        ("Append(IgnoreAttributeFlow, [a])", ["IgnoreAttributeFlow", "result"]),
        ('InStr([a], "x", 1, "vbNoCompare")', ["InStr", "compareType"]),
        ('Replace([a], , "(unclosed", , "x", , )', ["Replace", "RegularExpression"]),
    ],
)
def test_what_is_wrong_with_every_object_is_refused_at_once(text: str, words: list[str]) -> None:
    with pytest.raises(ExpressionError) as caught:
        compile_expression(text)
    for word in words:
        assert word in caught.value.reason


def test_ten_thousand_characters_are_the_limit() -> None:
    fits = '"' + "a" * (MAX_LENGTH - 2) + '"'
    assert compile_expression(fits).evaluate({}) == "a" * (MAX_LENGTH - 2)
    with pytest.raises(ExpressionError, match="10,000"):
        compile_expression('"' + "a" * (MAX_LENGTH - 1) + '"')


@pytest.mark.parametrize(("opening", "closing"), [("ToLower(", ")"), ("IIF((", ')="a","b","c")'), ("Not(((", ")))")])
def test_absurd_nesting_is_refused_before_the_stack_ends(opening: str, closing: str) -> None:
    with pytest.raises(ExpressionError, match="nested more than 100 deep"):
        compile_expression(opening * 300 + "[a]" + closing * 300)


def test_nesting_up_to_the_limit_is_evaluated() -> None:
    text = "ToLower(" * MAX_DEPTH + "[a]" + ")" * MAX_DEPTH
    assert compile_expression(text).evaluate({"a": "X"}) == "x"


def test_blanks_newlines_and_empty_arguments_are_free() -> None:
    text = 'Switch ( [a] ,\n , "1" ,\t"one" , "2", "two" )'
    assert compile_expression(text).evaluate({"a": "2"}) == "two"
    assert compile_expression("ToLower([a], )").evaluate({"a": "X"}) == "x"


def test_unknown_escapes_are_kept() -> None:
    assert compile_expression(r'"\+\d\\\"\n"').evaluate({}) == r"\+\d\"\n".replace(r"\"", '\\"')


def test_attributes_are_listed_wherever_they_stand() -> None:
    expression = compile_expression('IIF([a] = "x" AND Not([b]), Join("", [c], ToLower([d])), [extension_abc_e])')
    assert expression.attributes == {"a", "b", "c", "d", "extension_abc_e"}


def test_an_error_survives_pickling() -> None:
    import pickle

    error = ExpressionError("is wrong", function="Mid", argument="start", position=3)
    copy = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own bytes
    assert (copy.reason, copy.function, copy.argument, copy.position) == (error.reason, "Mid", "start", 3)
