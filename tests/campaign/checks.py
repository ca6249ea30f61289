"""What a trial is, and the checks that every stage must pass."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple


class Trial(NamedTuple):
    """One thing to try.

    Attributes:
        kind: kill, fault or corruption.
        what: the line under which it is counted.
        run: does it, raises Violation, and returns how many kills, faults or corruptions took effect.
    """

    kind: str
    what: str
    run: Callable[[], int]


class Violation(Exception):
    """A stage broke one of its promises."""


def check(condition: bool, message: str) -> None:
    """Raise Violation with `message` unless the condition holds."""
    if not condition:
        raise Violation(message)


@dataclass(frozen=True)
class Ended:
    """How a stage ended: its exit code (minus the number of the signal that killed it) and its stderr."""

    code: int
    errors: str


def check_one_line(name: str, ended: Ended, codes: tuple[int, ...]) -> None:
    """Check that a stage failed with one of the exit codes and one line that begins with its name."""
    check(ended.code in codes, f"{name}: exit code {ended.code}: {ended.errors}")
    check(len(ended.errors.splitlines()) == 1, f"{name}: not one line: {ended.errors}")
    check(ended.errors.startswith(f"{name}: "), f"{name} is not named: {ended.errors}")
