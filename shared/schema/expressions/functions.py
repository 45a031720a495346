"""How a function of the language is described, and how its implementation reads its arguments."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from shared.schema.values import Flow, Scalar, Value, boolean_of, is_empty, items_of, number_of, text_of

from .dotnet_dates import DateFormatError
from .dotnet_regex import PatternError
from .errors import SINGLE_VALUE_CODE, ExpressionError
from .syntax import Node, Omitted

if TYPE_CHECKING:
    from .context import EvaluationContext

type Outcome = Value | Flow
type ParameterType = Literal["String", "Integer", "Reference", "Binary", "Boolean", "DateTime"]
type Implementation = Callable[[Arguments], Outcome]
type Evaluation = Callable[[Scope], Outcome]


MAX_TEXT = 100_000
"""Characters of one argument: nested replacements may multiply a text, and no column takes more."""


@dataclass(frozen=True, slots=True)
class Scope:
    """One evaluation: the source object and the world."""

    source: Mapping[str, Value]
    context: EvaluationContext


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter, in the words of Graph's attributeMappingParameterSchema.

    ``condition``: comparisons, AND and OR are allowed here. ``result``: the argument becomes the function's result, so a
    function that must be outermost may stand here. ``repeated``: takes all further arguments.
    """

    name: str
    type: ParameterType = "String"
    required: bool = True
    repeated: bool = False
    condition: bool = False
    result: bool = False
    words: frozenset[str] = frozenset()


def _as_typed(arguments: tuple[Node, ...]) -> tuple[Node, ...]:
    return arguments


@dataclass(frozen=True, slots=True)
class Function:
    """One function of the language.

    ``outermost``: where it may stand: "anywhere", as the "result" (outermost, or a branch of IIF, Switch, Coalesce that is),
    or only at the very "top". ``volatile``: two evaluations of the same object may differ. ``documented``: False for names
    that only older function lists had; they are understood but no longer listed. ``arrange`` puts the arguments of an older
    spelling into the places of today's.
    """

    name: str
    parameters: tuple[Parameter, ...]
    implementation: Implementation
    place: Literal["anywhere", "result", "top"] = "anywhere"
    volatile: bool = False
    documented: bool = True
    arrange: Callable[[tuple[Node, ...]], tuple[Node, ...]] = _as_typed


@dataclass(frozen=True, slots=True)
class Bound:
    """An argument in its place: the node as written, and its compiled form."""

    parameter: str
    node: Node
    evaluate: Evaluation


@dataclass(frozen=True, slots=True)
class Arguments:
    """The arguments of one call in one evaluation, evaluated when asked for."""

    function: str
    bound: tuple[Bound, ...]
    position: int
    scope: Scope
    _cache: dict[str, Bound] = field(default_factory=dict)

    def fail(self, message: str, parameter: str | None = None, *, code: str | None = None) -> ExpressionError:
        """The error to raise: names the function, the parameter and its position."""
        argument = self.find(parameter) if parameter else None
        position = argument.node.span.position if argument else self.position
        return ExpressionError(message, function=self.function, argument=parameter, position=position, code=code)

    def find(self, parameter: str) -> Bound | None:
        """The first argument given for the parameter, None when it was omitted."""
        return next((one for one in self.bound if one.parameter == parameter and not isinstance(one.node, Omitted)), None)

    def given(self, parameter: str) -> bool:
        return self.find(parameter) is not None

    def result(self, parameter: str) -> Outcome:
        """The argument's outcome as it is, even if it says that nothing flows."""
        argument = self.find(parameter)
        return argument.evaluate(self.scope) if argument else None

    def value(self, parameter: str) -> Value:
        """The argument's value; NULL when it was omitted."""
        return self._plain(self.result(parameter), parameter)

    def values(self, parameter: str) -> Iterator[Value]:
        """The values of a repeated parameter, in order; omitted ones are NULL."""
        for argument in self.repeated(parameter):
            yield self._plain(argument.evaluate(self.scope), parameter)

    def repeated(self, parameter: str) -> tuple[Bound, ...]:
        return tuple(one for one in self.bound if one.parameter == parameter)

    def _plain(self, outcome: Outcome, parameter: str) -> Value:
        if isinstance(outcome, Flow):
            raise self.fail(f"{outcome.value} is no value", parameter)
        return outcome

    def single(self, parameter: str) -> Scalar | None:
        """The one value where one fits: a list of one is its item, a longer list an error."""
        return self.only(self.value(parameter), parameter)

    def only(self, value: Value, parameter: str) -> Scalar | None:
        items = items_of(value)
        if len(items) > 1:
            raise self.fail(f"is a list of {len(items)} values where one fits", parameter, code=SINGLE_VALUE_CODE)
        return items[0] if items else None

    def text(self, parameter: str) -> str | None:
        value = self.single(parameter)
        if value is None:
            return None
        text = text_of(value)
        if len(text) > MAX_TEXT:
            raise self.fail(f"has {len(text):,} characters, more than the {MAX_TEXT:,} that a function takes", parameter)
        return text

    def integer(self, parameter: str) -> int | None:
        """A whole number, given as a number or as text. Raises :class:`ExpressionError` for anything else."""
        value = self.single(parameter)
        if value is None or is_empty(value):
            return None
        number = number_of(value)
        if number is None or (isinstance(number, float) and not number.is_integer()):
            raise self.fail("must be a whole number", parameter)
        return int(number)

    def required_integer(self, parameter: str) -> int:
        number = self.integer(parameter)
        if number is None:
            raise self.fail("has no value where a whole number is needed", parameter)
        return number

    def boolean(self, parameter: str) -> bool:
        """True for True, "true" and any number but zero; False for False, "false", zero, "" and NULL; an error for the rest."""
        value = self.single(parameter)
        if value is None or is_empty(value):
            return False
        flag = boolean_of(value)
        if flag is not None:
            return flag
        number = number_of(value)
        if number is None:
            raise self.fail("is neither True nor False nor a number", parameter)
        return number != 0

    def attempt[T](self, parameter: str, work: Callable[[], T]) -> T:
        """Run work on an argument; dates and patterns that fail become errors that name it."""
        try:
            return work()
        except (DateFormatError, PatternError, OverflowError) as error:
            raise self.fail(str(error), parameter) from error
