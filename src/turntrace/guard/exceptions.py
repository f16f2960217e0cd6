"""Turns an exception into facts that hold no text: its type, and where in the app it passed.

Nothing here asks the exception itself: what is read comes from the interpreter's own slots, so
that no method or property of an app's class runs.
"""

from __future__ import annotations

import builtins
import re
from typing import TYPE_CHECKING, Any

from turntrace.attributes import EXCEPTION_MESSAGE, EXCEPTION_STACKTRACE, EXCEPTION_TYPE
from turntrace.errors import ConfigurationError
from turntrace.failsafe import swallowed
from turntrace.guard.frames import FUNCTION, PATH, FrameLines
from turntrace.type_names import MODULE, QUALNAME, WITHHELD, is_builtin, safe_type

if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_STACK_LENGTH = 16_000
"""Characters of a stack; of a longer one the first whole lines."""
MAX_MESSAGE_LENGTH = 256
MAX_CHAIN = 8
"""Exceptions of one chain of causes."""
MAX_MEMBERS = 8
"""Exceptions of a group that are shown, at each of two levels."""

_MAX_LEVEL = 2
_MAX_RAW_MESSAGE = 4 * MAX_MESSAGE_LENGTH


_BUILTIN = "|".join(
    sorted(
        name
        for name, value in vars(builtins).items()
        if isinstance(value, type) and issubclass(value, BaseException)
    )
)
# A bare word is no type of an app, which has a module: it may be an answer of one word.
_TYPE = rf"(?:{MODULE}\.{QUALNAME}|{_BUILTIN}|{WITHHELD})"
_FRAME = rf"(?:{PATH}|{WITHHELD}):\d{{1,9}} in (?:{FUNCTION}|{WITHHELD})"
_is_first_line = re.compile(_TYPE, re.ASCII).fullmatch
_is_line = re.compile(
    rf"(?:  ){{0,{_MAX_LEVEL + 1}}}"
    rf"(?:  {_FRAME}|(?:caused by|while handling|member) {_TYPE}"
    r"|  \.\.\. \d{1,9} more frames|\.\.\. \d{1,9} more members|\.\.\. more causes)",
    re.ASCII,
).fullmatch

# What the interpreter keeps of an exception and of a class, whatever their attributes say.
_slots: dict[str, Any] = dict(vars(BaseException))
_traceback_of = _slots["__traceback__"].__get__
_cause_of = _slots["__cause__"].__get__
_context_of = _slots["__context__"].__get__
_is_context_suppressed = _slots["__suppress_context__"].__get__
_members_of = vars(BaseExceptionGroup)["exceptions"].__get__


def is_safe_stack(text: object) -> bool:
    """Tell whether a text is a stack as we write it; what ``traceback`` formats is none.

    Takes time linear in the length; of more than ``MAX_STACK_LENGTH`` characters it is False.
    """
    if type(text) is not str or len(text) > MAX_STACK_LENGTH:
        return False
    first, *others = text.split("\n")
    return _is_first_line(first) is not None and all(map(_is_line, others))


class ContentFreeTypes:
    """Exception types whose messages hold no content: exactly these, no class below them."""

    def __init__(self) -> None:
        # By identity: a class may say of itself that it equals another.
        self._types: dict[int, type[BaseException]] = {}

    def register(self, *types: type[BaseException]) -> None:
        """Vouch for the messages of these types, as ``register_content_free`` says."""
        given: tuple[Any, ...] = types
        for kind in given:
            if not isinstance(kind, type) or not issubclass(kind, BaseException):
                raise ConfigurationError(
                    f"register_content_free() was given a {type(kind).__qualname__} that is no"
                    " exception type; give it the class: register_content_free(PaymentFailed)"
                )
            if is_builtin(kind):
                raise ConfigurationError(
                    f"register_content_free() was given {safe_type(kind)}, which any library"
                    " raises with any text; raise a class of your own and register that one"
                )
        self._types = {**self._types, **{id(kind): kind for kind in types}}

    def __contains__(self, kind: object) -> bool:
        return id(kind) in self._types


content_free = ContentFreeTypes()
"""What the app has registered."""


def register_content_free(*types: type[BaseException]) -> None:
    """Let the messages of these exception types leave, where the operator allows it at all.

    They leave as ``exception.message`` under ``TURNTRACE_EXCEPTION_MESSAGES=safe``, on one line
    of at most 256 characters. It counts for exactly these classes, not for those below them, and
    not for a later class of the same name. Whoever registers a type vouches for ``str()`` of it:
    for what its ``__str__`` writes, and for every object that is given to its constructor.

    Raises:
        ConfigurationError: One of them is no exception type, or a built-in one; none is
            registered then.

    Example:
        >>> class QuotaExceeded(Exception):
        ...     def __init__(self, limit: int) -> None:
        ...         super().__init__(f"more than {limit} requests a minute")
        >>> register_content_free(QuotaExceeded)
    """
    content_free.register(*types)


class ExceptionDescriber:
    """Makes the attributes of an ``exception`` event; equal errors at equal places give equal ones.

    Args:
        messages: The types whose messages may leave; None lets none out.
        app_packages: Packages of the app that are installed in site-packages, by top-level name.

    Example:
        >>> ExceptionDescriber()(KeyError("never seen"))
        {'exception.type': 'KeyError', 'exception.stacktrace': 'KeyError'}
    """

    def __init__(
        self, messages: ContentFreeTypes | None = None, app_packages: Iterable[str] = ()
    ) -> None:
        self._messages = messages
        self._frames = FrameLines(app_packages)

    def __call__(self, error: BaseException | type[BaseException]) -> dict[str, str]:
        """Return type and stack, and the message if it may leave; never raise.

        The stack begins with the type, below it the frames, the innermost first; then what it was
        caused by, or what was being handled; the members of a group stand indented below it.
        """
        kind = type(error)
        # type() of it, never isinstance(): that would ask the object for its class.
        if not issubclass(kind, BaseException):
            is_class = issubclass(kind, type)
            return {EXCEPTION_TYPE: safe_type(error if is_class else kind)}  # type: ignore[arg-type]
        facts = {EXCEPTION_TYPE: WITHHELD}
        try:
            facts[EXCEPTION_TYPE] = safe_type(kind)
            facts[EXCEPTION_STACKTRACE] = self._stack(error)  # type: ignore[arg-type]
            if self._messages is not None and kind in self._messages:
                facts[EXCEPTION_MESSAGE] = _one_line(str(error))
        except Exception as failure:  # noqa: BLE001 - telemetry never breaks the app
            swallowed("describing an exception", failure)
        return facts

    def _stack(self, error: BaseException) -> str:
        lines: list[str] = []
        self._chain(lines, error, "", 0, set())
        text = "\n".join(lines)
        if len(text) > MAX_STACK_LENGTH:
            text = text[: text.rindex("\n", 0, MAX_STACK_LENGTH)]
        return text

    def _chain(
        self, lines: list[str], error: BaseException, word: str, level: int, seen: set[int]
    ) -> None:
        """Add an exception and what it came from, each once however they refer to each other."""
        indent = "  " * level
        following: BaseException | None = error
        for _ in range(MAX_CHAIN):
            if following is None or id(following) in seen:
                return
            seen.add(id(following))
            lines.append(f"{indent}{word}{safe_type(type(following))}")
            lines += [f"{indent}  {line}" for line in self._frames.of(_traceback_of(following))]
            if issubclass(type(following), BaseExceptionGroup):
                self._members(lines, _members_of(following), level + 1, seen)
            cause = _cause_of(following)
            if cause is not None:
                following, word = cause, "caused by "
            elif not _is_context_suppressed(following):
                following, word = _context_of(following), "while handling "
            else:
                return
        if following is not None and id(following) not in seen:
            lines.append(f"{indent}... more causes")

    def _members(
        self, lines: list[str], members: tuple[BaseException, ...], level: int, seen: set[int]
    ) -> None:
        shown = members[:MAX_MEMBERS] if level <= _MAX_LEVEL else ()
        for member in shown:
            if sum(map(len, lines)) > MAX_STACK_LENGTH:
                return
            self._chain(lines, member, "member ", level, seen)
        if len(members) > len(shown):
            lines.append(f"{'  ' * level}... {len(members) - len(shown)} more members")


def _one_line(message: str) -> str:
    text = str.__str__(message)[:_MAX_RAW_MESSAGE].encode("utf-8", "replace").decode("utf-8")
    printable = "".join(letter if letter.isprintable() else " " for letter in text)
    return " ".join(printable.split())[:MAX_MESSAGE_LENGTH]
