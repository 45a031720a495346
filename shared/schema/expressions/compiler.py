"""Syntax tree to closures. All that can be known without a source object is refused here, not for each user."""

from __future__ import annotations

from shared.schema.values import Flow, Scalar, Value, boolean_of, items_of, number_of, text_of, value_of

from .dotnet_dates import DateFormatError, parse_date
from .dotnet_regex import PatternError, compile_pattern
from .errors import SINGLE_VALUE_CODE, ExpressionError
from .functions import Arguments, Bound, Evaluation, Function, Outcome, Parameter, Scope
from .library import LIBRARY
from .syntax import Attribute, Call, Comparator, Comparison, Constant, Logical, Node, Number, Omitted, Word

_FLOWS = {flow.value: flow for flow in Flow}
_FIRST_PAIR = 4  # Switch: source, default, one key and its value


def compile_node(node: Node) -> Evaluation:
    """Compile a whole expression. Raises :class:`ExpressionError` for whatever is wrong with every source object."""
    return _compile(node, place="top")


def _compile(
    node: Node, *, place: str = "anywhere", parameter: Parameter | None = None, function: str | None = None
) -> Evaluation:
    match node:
        case Attribute(name):
            return lambda scope: value_of(scope.source.get(name))
        case Constant(text):
            return lambda _scope: text
        case Number():
            number = node.value
            return lambda _scope: number
        case Omitted():
            return lambda _scope: None
        case Word():
            return _word(node, place, parameter, function)
        case Call():
            return _call(node, place)
        case Comparison() | Logical():
            if parameter is None or not parameter.condition:
                message = "a comparison may only stand in the condition of IIF, CBool or Not"
                raise ExpressionError(message, function=function, position=node.span.position)
            return _condition(node)


def _word(node: Word, place: str, parameter: Parameter | None, function: str | None) -> Evaluation:
    name = node.name
    if parameter is not None and name in parameter.words:
        return lambda _scope: name
    if name in _FLOWS:
        if place != "result":
            raise ExpressionError(
                f"{name} may only stand where the result of the whole expression is chosen",
                function=function,
                position=node.span.position,
            )
        flow = _FLOWS[name]
        return lambda _scope: flow
    hint = f': write [{name}] for an attribute, "{name}" for text'
    raise ExpressionError(f'"{name}" is no keyword{hint}', function=function, position=node.span.position)


def _call(node: Call, place: str) -> Evaluation:
    function = LIBRARY.get(node.name)
    if function is None:
        raise ExpressionError(_unknown(node.name), function=node.name, position=node.span.position)
    if (function.place == "top" and place != "top") or (function.place == "result" and place == "anywhere"):
        raise ExpressionError("must be the outermost function", function=node.name, position=node.span.position)
    pairs = bind(node, function)
    inner = "result" if place != "anywhere" else "anywhere"
    bound = tuple(
        Bound(
            parameter.name,
            argument,
            _compile(argument, place=inner if parameter.result else "anywhere", parameter=parameter, function=node.name),
        )
        for parameter, argument in pairs
    )
    _check_constants(node.name, pairs)
    name, position, implementation = node.name, node.span.position, function.implementation
    return lambda scope: implementation(Arguments(name, bound, position, scope))


def _unknown(name: str) -> str:
    near = next((known for known in LIBRARY if known.lower() == name.lower()), None)
    return f"unknown function; names are case-sensitive: {near}" if near else "unknown function"


def bind(node: Call, function: Function) -> list[tuple[Parameter, Node]]:
    """Put each argument to its parameter; omitted ones stay as :class:`Omitted`.

    Raises :class:`ExpressionError` when there are too many, when a required one is missing or when Switch's pairs do not fit.
    """
    arguments = function.arrange(node.arguments)
    parameters = function.parameters
    repeated = parameters[-1] if parameters and parameters[-1].repeated else None
    fixed = parameters[:-1] if repeated else parameters
    pairs = list(zip(fixed, arguments, strict=False))
    rest = arguments[len(fixed) :]
    if repeated is not None:
        pairs += [(repeated, argument) for argument in rest]
    elif any(not isinstance(argument, Omitted) for argument in rest):
        raise ExpressionError(
            f"takes {len(fixed)} arguments, {len(arguments)} are given", function=node.name, position=rest[0].span.position
        )
    if function.name == "Switch" and (len(arguments) % 2 or len(arguments) < _FIRST_PAIR):
        message = (
            f"takes a source, a default (which may be empty) and pairs of key and value: {len(arguments)} arguments are given"
        )
        raise ExpressionError(message, function=node.name, position=node.span.position)
    _check_required(node, parameters, pairs)
    return pairs


def _check_required(node: Call, parameters: tuple[Parameter, ...], pairs: list[tuple[Parameter, Node]]) -> None:
    given = {parameter.name for parameter, argument in pairs if not isinstance(argument, Omitted)}
    for parameter in parameters:
        if parameter.required and parameter.name not in given:
            raise ExpressionError(
                f"is missing ({len(node.arguments)} arguments given)",
                function=node.name,
                argument=parameter.name,
                position=node.span.position,
            )


def _check_constants(function: str, pairs: list[tuple[Parameter, Node]]) -> None:
    for parameter, argument in pairs:
        if not isinstance(argument, Constant):
            continue
        fault = _constant_fault(parameter, argument.text)
        if fault is not None:
            raise ExpressionError(fault, function=function, argument=parameter.name, position=argument.span.position)


def _constant_fault(parameter: Parameter, text: str) -> str | None:
    if parameter.words and text not in parameter.words:
        return f"must be one of {', '.join(sorted(parameter.words))}"
    if parameter.type == "Integer" and not isinstance(number_of(text), int):
        return "must be a whole number"
    if parameter.name == "RegularExpression":
        try:
            compile_pattern(text)
        except PatternError as error:
            return str(error)
    return None


def _condition(node: Node) -> Evaluation:
    match node:
        case Logical(connective, terms):
            checks = [_truth(term) for term in terms]
            if connective == "AND":
                return lambda scope: all(check(scope) for check in checks)
            return lambda scope: any(check(scope) for check in checks)
        case Comparison(operator, left, right):
            return _comparison(operator, left, right)
        case _:
            return _compile(node)


def _truth(node: Node) -> Evaluation:
    """A term of AND or OR: a comparison, or anything that is True or False."""
    evaluate = _condition(node)

    def check(scope: Scope) -> Outcome:
        outcome = evaluate(scope)
        value = _scalar(outcome, node)
        if value is None or value == "":
            return False
        flag = boolean_of(value)
        if flag is None:
            raise ExpressionError("is neither True nor False", position=node.span.position)
        return flag

    return check


def _comparison(operator: Comparator, left: Node, right: Node) -> Evaluation:
    first, second = _condition(left), _condition(right)

    def compare(scope: Scope) -> Outcome:
        return compares(operator, _scalar(first(scope), left), _scalar(second(scope), right))

    return compare


def _scalar(outcome: Outcome, node: Node) -> Scalar | None:
    if isinstance(outcome, Flow):
        raise ExpressionError(f"{outcome.value} is no value", position=node.span.position)
    items = items_of(outcome)
    if len(items) > 1:
        message = f"a list of {len(items)} values cannot be compared"
        raise ExpressionError(message, position=node.span.position, code=SINGLE_VALUE_CODE)
    return items[0] if items else None


def compares(operator: Comparator, left: Scalar | None, right: Scalar | None) -> bool:
    """Compare two values: NULL equals "" and is neither greater nor less than anything.

    Two numbers (also written as text) compare as numbers, two dates as dates, everything else as case-sensitive text.
    """
    if operator in {"=", "<>"}:
        return _equal(left, right) is (operator == "=")
    if left is None or right is None or "" in {left, right}:
        return False
    order = _order(left, right)
    match operator:
        case ">":
            return order > 0
        case ">=":
            return order >= 0
        case "<":
            return order < 0
        case _:
            return order <= 0


def _equal(left: Scalar | None, right: Scalar | None) -> bool:
    if left is None or right is None:
        return left in {None, ""} and right in {None, ""}
    if _is_number(left) or _is_number(right):
        first, second = number_of(left), number_of(right)
        if first is not None and second is not None:
            return first == second
    return text_of(left) == text_of(right)


def _is_number(value: Scalar) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _order(left: Scalar, right: Scalar) -> int:
    first, second = number_of(left), number_of(right)
    if first is not None and second is not None:
        return (first > second) - (first < second)
    try:
        earlier, later = parse_date(text_of(left)), parse_date(text_of(right))
    except DateFormatError:
        one, other = text_of(left), text_of(right)
        return (one > other) - (one < other)
    return (earlier > later) - (earlier < later)


def unique_candidates(node: Node, scope: Scope) -> tuple[str, ...]:
    """What SelectUniqueValue would try, in its order; empty for every other expression."""
    if not isinstance(node, Call) or node.name != "SelectUniqueValue":
        return ()
    outcomes: list[Value] = []
    for argument in node.arguments:
        value = _scalar(_compile(argument)(scope), argument)
        outcomes.append(value)
    return tuple(
        dict.fromkeys(text_of(value) for value in outcomes if value is not None and not isinstance(value, tuple) and value)
    )
