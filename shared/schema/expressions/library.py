"""Every function of the language, by name. Names are case-sensitive."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

from . import date_functions, list_functions, logic_functions, replace_function, text_functions

if TYPE_CHECKING:
    from .functions import Function

LIBRARY = MappingProxyType(
    {
        function.name: function
        for function in (
            *text_functions.FUNCTIONS,
            *logic_functions.FUNCTIONS,
            *date_functions.FUNCTIONS,
            *list_functions.FUNCTIONS,
            replace_function.FUNCTION,
        )
    }
)


def documented_functions() -> tuple[Function, ...]:
    """The 46 functions of today's reference, sorted by name."""
    return tuple(sorted((function for function in LIBRARY.values() if function.documented), key=lambda function: function.name))
