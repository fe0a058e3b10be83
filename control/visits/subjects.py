"""Numbers of people (an eID's subject): recognized by a keyed mark, never kept."""

from __future__ import annotations

import re

from ..keyring import Keyring

# A Swedish personal number is written with and without its separator; portals and providers needn't agree on it.
_NUMBER = re.compile(r"(\d{6,8})[-+ ](\d{4})")


class Subjects:
    """Marks and compares the subjects of one installation; marks of different tenants have nothing in common."""

    def __init__(self, keyring: Keyring) -> None:
        self._keyring = keyring

    def mark(self, tenant: str, subject: str) -> str:
        """What is kept instead of `subject` (`Keyring.mark`)."""
        return self._keyring.mark(_plain(subject), _about(tenant))

    def expected(self, tenant: str, mark: str | None, subject: str) -> bool | None:
        """Whether `subject` is the one marked; None where nobody in particular is expected.

        A mark of a key that has been taken away matches nobody.
        """
        return None if mark is None else self._keyring.is_marked(mark, _plain(subject), _about(tenant))


def _plain(subject: str) -> str:
    subject = subject.strip()
    number = _NUMBER.fullmatch(subject)
    return number[1] + number[2] if number else subject


def _about(tenant: str) -> str:
    return f"subject {tenant}"
