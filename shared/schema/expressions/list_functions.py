"""Functions on multi-valued attributes, and those that ask the world: the target, the tenant, chance.

Source: the function reference named in :mod:`.syntax`. App roles are lists of role names here: what ServiceNow needs to know
about a role is its name, and the mapping says whether unassigned ones are taken away.
"""

from __future__ import annotations

import string
import uuid

from shared.schema.values import Flow, Scalar, is_empty, items_of, text_of

from .functions import Arguments, Function, Outcome, Parameter

_SPECIALS = "!#$%&()*+,-./:;<=>?@[]^_{|}~"
_MAX_RANDOM = 256
_CLASSES = (
    ("minimumNumbers", string.digits),
    ("minimumSpecialCharacters", _SPECIALS),
    ("minimumCapital", string.ascii_uppercase),
    ("minimumLowerCase", string.ascii_lowercase),
)


def _count(arguments: Arguments) -> Outcome:
    return len(items_of(arguments.value("attribute")))


def _item(arguments: Arguments) -> Outcome:
    index = arguments.required_integer("index")
    if index < 1:
        raise arguments.fail("must be 1 or more: the first item is 1", "index")
    items = items_of(arguments.value("attribute"))
    return items[index - 1] if index <= len(items) else None


def _split(arguments: Arguments) -> Outcome:
    source, delimiter = arguments.text("source"), arguments.text("delimiter")
    if source is None:
        return None
    parts = source.split(delimiter) if delimiter else [source]
    return tuple(item for part in parts if (item := part.strip())) or None


def _remove_duplicates(arguments: Arguments) -> Outcome:
    return tuple(dict.fromkeys(items_of(arguments.value("attribute")))) or None


def _all_roles(arguments: Arguments) -> Outcome:
    return tuple(dict.fromkeys(items_of(arguments.value("appRoleAssignments")))) or None


def _single_role(arguments: Arguments) -> Outcome:
    """Which of several roles Entra takes is not defined; ours is the first by name, so that it does not flap."""
    roles: list[Scalar] = sorted(items_of(arguments.value("appRoleAssignments")), key=text_of)
    return roles[0] if roles else None


def _select_unique_value(arguments: Arguments) -> Outcome:
    tried = 0
    for argument in arguments.repeated("uniqueValueRule"):
        outcome = argument.evaluate(arguments.scope)
        if isinstance(outcome, Flow):
            raise arguments.fail(f"{outcome.value} is no value", "uniqueValueRule")
        candidate = arguments.only(outcome, "uniqueValueRule")
        if candidate is None or is_empty(candidate):
            continue
        tried += 1
        if not arguments.scope.context.target_taken(text_of(candidate)):
            return candidate
    if tried:
        raise arguments.fail(f"each of the {tried} candidates is already used in the target", code="EntryConflict")
    return None


def _default_domain(arguments: Arguments) -> Outcome:
    domain = arguments.scope.context.default_domain
    if not domain:
        raise arguments.fail("the tenant's default verified domain is not known")
    return domain


def _guid(arguments: Arguments) -> Outcome:
    return str(uuid.UUID(int=arguments.scope.context.randomness.getrandbits(128), version=4))


def _random_string(arguments: Arguments) -> Outcome:
    length = arguments.required_integer("length")
    minima = [(name, arguments.required_integer(name), alphabet) for name, alphabet in _CLASSES]
    avoided = arguments.text("avoidCharacters") or ""
    needed = sum(least for _, least, _ in minima)
    if not 1 <= length <= _MAX_RANDOM:
        raise arguments.fail(f"must be between 1 and {_MAX_RANDOM}", "length")
    if any(least < 0 for _, least, _ in minima) or needed > length:
        raise arguments.fail(f"is shorter than the {needed} characters that the minima ask for", "length")
    randomness = arguments.scope.context.randomness
    alphabets = [
        (name, least, "".join(letter for letter in alphabet if letter not in avoided)) for name, least, alphabet in minima
    ]
    for name, least, alphabet in alphabets:
        if least and not alphabet:
            raise arguments.fail("cannot be met: every such character is to be avoided", name)
    everything = "".join(alphabet for _, _, alphabet in alphabets)
    if not everything:
        raise arguments.fail("leaves no character to choose from", "avoidCharacters")
    letters = [randomness.choice(alphabet) for _, least, alphabet in alphabets for _ in range(least)]
    letters += [randomness.choice(everything) for _ in range(length - needed)]
    randomness.shuffle(letters)
    return "".join(letters)


_LIST = Parameter("attribute")
_ROLES = Parameter("appRoleAssignments")

FUNCTIONS = (
    Function("Count", (_LIST,), _count),
    Function("Item", (_LIST, Parameter("index", "Integer")), _item),
    Function("Split", (Parameter("source"), Parameter("delimiter")), _split),
    Function("RemoveDuplicates", (_LIST,), _remove_duplicates),
    Function("SingleAppRoleAssignment", (_ROLES,), _single_role),
    Function("AppRoleAssignmentsComplex", (_ROLES,), _all_roles),
    Function("AssertiveAppRoleAssignmentsComplex", (_ROLES,), _all_roles),
    Function("AppRoleAssignments", (_ROLES,), _all_roles, documented=False),
    Function(
        "SelectUniqueValue", (Parameter("uniqueValueRule", repeated=True),), _select_unique_value, place="top", volatile=True
    ),
    Function("DefaultDomain", (), _default_domain),
    Function("Guid", (), _guid, volatile=True),
    Function(
        "RandomString",
        (
            Parameter("length", "Integer"),
            *(Parameter(name, "Integer") for name, _ in _CLASSES),
            Parameter("avoidCharacters", required=False),
        ),
        _random_string,
        volatile=True,
    ),
)
