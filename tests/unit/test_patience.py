"""How long an address that only guesses is listened to."""

from __future__ import annotations

import pytest
from vardrum.control.api import patience
from vardrum.control.api.patience import Patience
from vardrum.control.visits.refused import Refused


def test_patience_ends_and_grows_again() -> None:
    now = [0.0]
    one = Patience(60, lambda: now[0])
    for _ in range(60):
        one.refused("a")
    with pytest.raises(Refused) as error:
        one.refused("a")
    assert (error.value.status, error.value.retry_after) == (429, 1)
    one.refused("b")
    now[0] = 2.0
    one.refused("a")
    one.refused("a")
    with pytest.raises(Refused):
        one.refused("a")


def test_addresses_are_forgotten_before_memory_is_full(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "MAX_ADDRESSES", 3)
    one = Patience(1, lambda: 0.0)
    for address in "abcd":
        one.refused(address)
    one.refused("a")  # forgotten, so it begins anew
    with pytest.raises(Refused):
        one.refused("d")
