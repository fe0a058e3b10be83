"""What a check says: how it is, in a sentence, and what to do about it, in another."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    OK = "ok"
    WARNING = "warning"  # visits go on, but not for everybody, or not for long
    WRONG = "wrong"  # no visit, or none that is safe


@dataclass(frozen=True)
class Finding:
    """
    Attributes:
        name: of what was looked at, such as `certificate`.
        what: one sentence; it names no person and no secret.
        remedy: one sentence or command; empty where nothing is to be done.
    """

    name: str
    state: State
    what: str
    remedy: str = ""


def ok(name: str, what: str) -> Finding:
    return Finding(name, State.OK, what)


def warning(name: str, what: str, remedy: str) -> Finding:
    return Finding(name, State.WARNING, what, remedy)


def wrong(name: str, what: str, remedy: str) -> Finding:
    return Finding(name, State.WRONG, what, remedy)
