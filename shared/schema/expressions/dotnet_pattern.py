r"""The translation of a .NET pattern into the language of the ``regex`` engine's version 1, character by character.

What is translated and what is refused is told in :mod:`.dotnet_regex`.
"""

from __future__ import annotations

import regex

MAX_SIZE = 50_000
"""Characters and groups of a pattern with bounded repetitions unrolled, as the engine does when it compiles."""

_EVERYWHERE = {letter: "\\" + letter for letter in "wWsSdDtnrfva"} | {"e": r"\x1b"}
_SIMPLE_ESCAPES = {
    False: _EVERYWHERE | {"b": r"\b", "B": r"\B", "A": r"\A", "G": r"\G", "z": r"\Z", "Z": r"(?=\n?\Z)"},
    True: _EVERYWHERE | {"b": r"\x08"},
}
_QUANTIFIER = regex.compile(r"\{([0-9]+)(,([0-9]*))?\}")
_GROUP_NAME = regex.compile(r"[A-Za-z_][A-Za-z0-9_]*|[1-9][0-9]*")
_INLINE_OPTIONS = regex.compile(r"\(\?([a-zA-Z]*(?:-[a-zA-Z]+)?)([:)])")
_HEX_DIGITS = {"x": 2, "u": 4}
_OPTIONS = frozenset("imsx-")
_MAX_ESCAPED = 0xFF


class PatternError(ValueError):
    """The pattern cannot be translated, or took too long. ``position`` is 1-based in the pattern, 0 where there is none."""

    def __init__(self, message: str, position: int = 0) -> None:
        super().__init__(f"{message} (at character {position} of the pattern)" if position else message)


def group_numbers(names: list[str | None]) -> dict[str, int]:
    """Unnamed groups are numbered first, then the named ones, in the order of the pattern (.NET docs, grouping constructs)."""
    engine: dict[str, int] = {"0": 0}
    position = 0
    unnamed: list[int] = []
    named: dict[str, int] = {}
    for name in names:
        if name is not None and name in named:
            continue  # the engine, like .NET, lets groups of one name share a number
        position += 1
        if name is None:
            unnamed.append(position)
        else:
            named[name] = position
    explicit = {name for name in named if name.isdigit()}
    number = 0
    for place in [*unnamed, *(place for name, place in named.items() if name not in explicit)]:
        number += 1
        while str(number) in explicit:
            number += 1
        engine[str(number)] = place
    return engine | named


class Translation:
    """One pattern on its way through; ``groups`` are the names of its groups in order, None for an unnamed one."""

    def __init__(self, pattern: str) -> None:
        self.pattern = pattern
        self.place = 0
        self.groups: list[str | None] = []
        self._out: list[str] = []
        self._outer: list[int] = []  # the sizes of the groups around the one being read
        self._size = 0  # of the group being read, with its repetitions unrolled
        self._last = 1  # of the atom just read: what a quantifier multiplies
        self._extended = False
        self._references: list[tuple[int, str]] = []

    def run(self) -> str:
        """The translated pattern. Raises :class:`PatternError` for what cannot be translated."""
        while self.place < len(self.pattern):
            self._step()
        self._resolve_references()
        return "".join(self._out)

    def _refuse(self, message: str) -> PatternError:
        return PatternError(message, self.place + 1)

    def _rest(self, length: int) -> str:
        return self.pattern[self.place : self.place + length]

    def _emit(self, text: str, consumed: int, weight: int = 1) -> None:
        self._out.append(text)
        self.place += consumed
        self._last = weight
        self._size += weight

    def _step(self) -> None:
        character = self.pattern[self.place]
        match character:
            case "\\":
                self._emit(*self._escape(in_class=False))
            case "[":
                self._emit(*self._class())
            case "(":
                self._open()
            case ")":
                self._close()
            case "{":
                self._brace()
            case "*" | "+" | "?":
                self._quantifier(character, 1, 1)
            case "}":
                self._emit(r"\}", 1)
            case "#" if self._extended:
                end = self.pattern.find("\n", self.place)
                self.place = len(self.pattern) if end < 0 else end + 1
            case _:
                self._emit(character, 1)

    def _brace(self) -> None:
        found = _QUANTIFIER.match(self.pattern, self.place)
        if found is None:
            self._emit(r"\{", 1)
            return
        bound = int(found[3] or found[1])
        self._quantifier(str(found.group()), len(found.group()), max(bound, int(found[1]), 1))

    def _quantifier(self, text: str, consumed: int, times: int) -> None:
        weight = self._last * times
        if self._size + sum(self._outer) + weight > MAX_SIZE:
            raise self._refuse(f"its repetitions unroll to more than {MAX_SIZE:,} elements")
        following = self.pattern[self.place + consumed : self.place + consumed + 1]
        lazy = "?" if following == "?" else ""
        if following == "+" or (following == "*" and not lazy):
            raise self._refuse("nested quantifier")
        self._size -= self._last
        self._emit(text + lazy, consumed + len(lazy), weight)

    def _open(self) -> None:
        if self._rest(3) == "(?#":
            end = self.pattern.find(")", self.place)
            if end < 0:
                raise self._refuse("the comment is not closed")
            self.place = end + 1
            return
        options = _INLINE_OPTIONS.match(self.pattern, self.place)
        if options is not None:
            self._options(options)
            return
        if self._rest(2) == "(?":
            self._special_group()
            return
        self.groups.append(None)
        self._enter("(", 1)

    def _enter(self, text: str, consumed: int) -> None:
        self._out.append(text)
        self.place += consumed
        self._outer.append(self._size)
        self._size, self._last = 0, 1

    def _close(self) -> None:
        if not self._outer:
            raise self._refuse("too many closing parentheses")
        inside = self._size + 1
        self._size = self._outer.pop()
        self._emit(")", 1, inside)

    def _options(self, found: regex.Match[str]) -> None:
        options, end = str(found[1]).lower(), str(found[2])
        if unknown := set(options) - _OPTIONS:
            what = "the option n (explicit capture) cannot be translated" if "n" in unknown else "unknown inline option"
            raise self._refuse(what)
        if "x" in options:
            self._extended = "x" in options.partition("-")[0]
        text = f"(?{options}{end}"
        if end == ":":
            self._enter(text, len(found.group()))
        else:
            # .NET keeps such an option until the group ends, and so does the engine's version 1.
            self._out.append(text if options else "")
            self.place += len(found.group())

    def _special_group(self) -> None:
        for prefix in ("(?=", "(?!", "(?>", "(?<=", "(?<!"):
            if self._rest(len(prefix)) == prefix:
                self._enter(prefix, len(prefix))
                return
        opening = self._rest(3)
        if opening in {"(?<", "(?'"}:
            self._named_group(">" if opening == "(?<" else "'")
        elif opening == "(?(":
            self._conditional()
        else:
            raise self._refuse("this group construct is not part of .NET regular expressions")

    def _named_group(self, closing: str) -> None:
        end = self.pattern.find(closing, self.place + 3)
        name = self.pattern[self.place + 3 : end] if end > 0 else ""
        if "-" in name:
            raise self._refuse("balancing groups cannot be translated")
        if _GROUP_NAME.fullmatch(name) is None:
            raise self._refuse("a group name consists of letters, digits and underscores")
        self.groups.append(name)
        self._enter(f"(?<{_engine_name(name)}>", end + 1 - self.place)

    def _conditional(self) -> None:
        end = self.pattern.find(")", self.place)
        name = self.pattern[self.place + 3 : end] if end > 0 else ""
        if name not in self.groups or not name:
            raise self._refuse("a condition is translated only when it names a group before it")
        self._enter(f"(?({_engine_name(name)})", end + 1 - self.place)

    def _escape(self, *, in_class: bool) -> tuple[str, int]:
        following = self.pattern[self.place + 1 : self.place + 2]
        if not following:
            raise self._refuse("the pattern ends with a backslash")
        if following in _SIMPLE_ESCAPES[in_class]:
            return _SIMPLE_ESCAPES[in_class][following], 2
        if following in _HEX_DIGITS:
            return self._hexadecimal(_HEX_DIGITS[following])
        match following:
            case "p" | "P":
                return self._category()
            case "c":
                return self._control()
            case "k" if not in_class:
                return self._named_reference()
            case _ if following.isascii() and following.isdigit():
                return self._number(in_class=in_class)
            case _ if following.isascii() and following.isalpha():
                raise self._refuse(f"unrecognized escape sequence \\{following}")
            case _:
                return regex.escape(following), 2

    def _hexadecimal(self, length: int) -> tuple[str, int]:
        digits = self.pattern[self.place + 2 : self.place + 2 + length]
        if len(digits) < length or any(digit not in "0123456789abcdefABCDEF" for digit in digits):
            raise self._refuse(f"{length} hexadecimal digits must follow")
        return regex.escape(chr(int(digits, 16))), 2 + length

    def _control(self) -> tuple[str, int]:
        letter = self.pattern[self.place + 2 : self.place + 3].upper()
        if not letter or not "@" <= letter <= "_":
            raise self._refuse(r"a control character is written \cA to \cZ")
        return f"\\x{ord(letter) - ord('@'):02x}", 3

    def _number(self, *, in_class: bool) -> tuple[str, int]:
        found = regex.compile(r"[0-9]{1,3}").match(self.pattern, self.place + 1)
        digits = found.group() if found is not None else ""
        octal = digits.startswith("0") or in_class
        if octal:
            value = int(regex.sub(r"[89].*", "", digits) or "0", 8)
            return f"\\x{min(value, _MAX_ESCAPED):02x}", 1 + len(digits)
        self._references.append((len(self._out), digits))
        return "", 1 + len(digits)

    def _named_reference(self) -> tuple[str, int]:
        opening = self.pattern[self.place + 2 : self.place + 3]
        closing = {"<": ">", "'": "'"}.get(opening)
        end = self.pattern.find(closing, self.place + 3) if closing else -1
        if end < 0:
            raise self._refuse(r"a reference to a group is written \k<name>")
        self._references.append((len(self._out), self.pattern[self.place + 3 : end]))
        return "", end + 1 - self.place

    def _resolve_references(self) -> None:
        numbers = group_numbers(self.groups)
        for index, name in self._references:
            if name in numbers:
                self._out[index] = f"\\g<{numbers[name]}>"
            elif len(name) > 1 and not set(name) - set("01234567"):
                # .NET reads a number of several digits that names no group as an octal code.
                self._out[index] = f"\\x{min(int(name, 8), _MAX_ESCAPED):02x}"
            else:
                raise PatternError(f'reference to undefined group "{name}"')

    def _category(self) -> tuple[str, int]:
        found = regex.compile(r"\\([pP])\{(\^?)([A-Za-z0-9_-]+)\}").match(self.pattern, self.place)
        if found is None:
            raise self._refuse(r"a category is written \p{Lu}")
        negated = "P" if (found[1] == "P") != bool(found[2]) else "p"
        name = str(found[3])
        if name.startswith("Is"):
            name = "Block=" + regex.sub(r"(?<=[a-z])(?=[A-Z])", " ", name[2:])
        text = f"\\{negated}{{{name}}}"
        try:
            regex.compile(text, regex.V1)
        except regex.error as error:
            raise self._refuse(f"unknown category or block {name}") from error
        return text, len(found.group())

    def _class(self) -> tuple[str, int]:
        """A character class, with what the engine's version 1 would read as a set operation escaped."""
        start = self.place
        out = ["["]
        self.place += 1
        if self._rest(1) == "^":
            out.append("^")
            self.place += 1
        first = True
        while True:
            character = self._rest(1)
            if not character:
                self.place = start
                raise self._refuse("the character class is not closed")
            if character == "]" and not first:
                self.place += 1
                break
            if self._rest(2) == "-[" and not first:
                self.place += 1
                inner, consumed = self._class()
                out.append("--" + inner)
                self.place += consumed
                if self._rest(1) != "]":
                    raise self._refuse("a subtraction must be the last element of the class")
                self.place += 1
                break
            if character == "\\":
                text, consumed = self._escape(in_class=True)
            else:
                text, consumed = _class_literal(character, out[-1]), 1
            out.append(text)
            self.place += consumed
            first = False
        out.append("]")
        consumed = self.place - start
        self.place = start
        return "".join(out), consumed


def _class_literal(character: str, before: str) -> str:
    doubled = character == "-" and before == "-"
    return "\\" + character if doubled or character in "[]&|~" else character


def _engine_name(name: str) -> str:
    return f"n{name}" if name.isdigit() else name
