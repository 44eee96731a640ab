"""Failures that are told to people, and the exit codes that they end the program with."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

EXIT_DONE = 0
EXIT_UNFORESEEN = 1
EXIT_BAD_INPUT = 2
EXIT_DEVICE = 3
EXIT_BUNDLE = 4
EXIT_OUTPUT = 5
EXIT_CANCELLED = 130
RESEARCH_USE = "Research use only, not a medical device"
_MOST_TOLD = 1000  # letters of a message


class Failure(Exception):  # noqa: N818 (these are told to people, not bugs)
    """An expected failure, told to the user as one clear sentence and a hint.

    Args:
        code: Stable, machine-readable name, such as "file_not_found".
        message: One sentence saying what is wrong; what it quotes, such as a file name, may hold anything.
        hint: What to do about it; may be empty.
        items: What the message lists; each gets a line of its own.
    """

    exit_code: ClassVar[int] = EXIT_UNFORESEEN

    def __init__(self, code: str, message: str, hint: str = "", items: Iterable[str] = ()) -> None:
        self.code = code
        self.message = "\n".join(map(printable, (message, *items)))
        self.hint = printable(hint)
        super().__init__(self.message)

    def event(self) -> dict[str, Any]:
        """This failure as an error event."""
        return {"event": "error", "code": self.code, "message": self.message, "hint": self.hint}


class BadInput(Failure):
    """The scan or an option cannot be used."""

    exit_code = EXIT_BAD_INPUT


class DeviceFailure(Failure):
    """The computing device is missing, or its memory does not suffice."""

    exit_code = EXIT_DEVICE


class BundleFailure(Failure):
    """The model bundle is missing, damaged or not acceptable."""

    exit_code = EXIT_BUNDLE


class OutputFailure(Failure):
    """The results cannot be written."""

    exit_code = EXIT_OUTPUT


class Cancelled(Failure):
    """The user, or the program that started the run, asked for its end."""

    exit_code = EXIT_CANCELLED

    def __init__(self, code: str = "cancelled", message: str = "The run was cancelled.", hint: str = "") -> None:
        super().__init__(code, message, hint)


def printable(text: str) -> str:
    """A line without control characters, for they could rule a terminal; the middle of a long one goes.

    File names may hold line ends, escape sequences and bytes that are no text.
    """
    plain = "".join(letter if letter.isprintable() else "?" for letter in text)
    half = _MOST_TOLD // 2
    return plain if len(plain) <= _MOST_TOLD else f"{plain[:half]} ... {plain[-half:]}"


def shown(value: object) -> str:
    """A value as it is told to a person: on one line, printable and not long."""
    text = ascii(value[:80] if isinstance(value, str) else value)
    return text if len(text) <= 100 else f"{text[:97]}..."
