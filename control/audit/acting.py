"""Who acts just now: set where a request comes in, looked up where an act is written down."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from enum import StrEnum


class Known(StrEnum):
    """How the server knows who acts."""

    KEY = "key"  # an API key; where the portal has named a person, `id` and `name` are theirs
    HOST = "host"  # a host by the session of a visit
    PARTICIPANT = "participant"  # somebody who comes or goes themselves
    STAFF = "staff"  # staff by a login of their own
    OPERATOR = "operator"  # the command line
    SYSTEM = "system"  # the clock: what becomes due


@dataclass(frozen=True)
class Acting:
    """An acting user (HSLF-FS 2016:40, 4 kap. 9 §).

    Attributes:
        id: the portal's or the login's id of the person, a participant's id, or a key's where it names nobody.
        key: id of the API key, where one was used.
    """

    known: Known
    id: str | None = None
    name: str | None = None
    care_unit: str | None = None
    key: str | None = None


SYSTEM = Acting(Known.SYSTEM)
OPERATOR = Acting(Known.OPERATOR)

_acting: ContextVar[Acting] = ContextVar("vardrum_acting", default=SYSTEM)


def acting() -> Acting:
    """Who acts in this task; the system where nobody does."""
    return _acting.get()


@contextmanager
def acts(who: Acting) -> Iterator[None]:
    """What is written down inside the block was done by `who`."""
    token = _acting.set(who)
    try:
        yield
    finally:
        _acting.reset(token)
