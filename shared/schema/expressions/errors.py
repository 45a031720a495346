"""The one error of the expression language."""

from __future__ import annotations

from shared.errors import TerminalError

SINGLE_VALUE_CODE = "SchemaPropertyCanOnlyAcceptValue"


class ExpressionError(TerminalError):
    """An expression that cannot be parsed, or that fails for one object.

    ``function`` and ``argument`` name the place in the language's own words (None where there is none), ``position`` is the
    1-based character position in the expression. The reason never holds an attribute's value: it may be personal data.
    """

    def __init__(
        self,
        message: str,
        *,
        function: str | None = None,
        argument: str | None = None,
        position: int | None = None,
        code: str | None = None,
    ) -> None:
        place = function or "expression"
        if argument is not None:
            place += f', argument "{argument}"'
        if position is not None:
            place += f", position {position}"
        super().__init__(f"{place}: {message}", code=code, recommended_action="Correct the expression of the attribute mapping.")
        self.message = message
        self.function = function
        self.argument = argument
        self.position = position

    def __reduce__(self) -> tuple[object, ...]:
        return _restore, (self.message, self.function, self.argument, self.position, self.code)


def _restore(message: str, function: str | None, argument: str | None, position: int | None, code: str) -> ExpressionError:
    return ExpressionError(message, function=function, argument=argument, position=position, code=code)
