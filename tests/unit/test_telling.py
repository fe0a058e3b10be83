"""What is kept of rooms for who follows them, whatever the order in which writers go on after their commits."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from vardrum.control.visits import telling as module
from vardrum.control.visits.rules import RoomState, State
from vardrum.control.visits.telling import Telling
from vardrum.control.visits.values import Arrival, CareUnit, RoomSnapshot

NOW = datetime(2026, 3, 2, 8, tzinfo=UTC)
ARRIVAL = Arrival("s", "p", State.WAITING, True, NOW, None, None, None, "connected")


def snapshot(title: str = "", *, state: RoomState = RoomState.OPEN, arrivals: int = 1, id: str = "r") -> RoomSnapshot:
    times: dict[str, Any] = dict.fromkeys(
        ("starts_at", "ends_at", "opens_at", "closes_at", "created_at", "updated_at"), NOW
    )
    more: dict[str, Any] = {"external_ref": None, "patient_ref": None, "time_zone": "UTC", "language": "sv"}
    return RoomSnapshot(
        id=id, tenant="t", state=state, form="video", training=False, title=title, care_unit=CareUnit("W"),
        max_participants=8, locked=False, identity_policy={}, ended_at=None, version=1,
        arrivals=(ARRIVAL,) * arrivals, **times, **more,
    )  # fmt: skip


class Scene:
    """As much of one as telling looks at."""

    changed = True

    def __init__(self, snapshot: RoomSnapshot) -> None:
        self._snapshot = snapshot

    def snapshot(self) -> RoomSnapshot:
        return self._snapshot


class Transaction:
    def __init__(self) -> None:
        self.after_commit: list[Callable[[], Awaitable[None]]] = []


def written(telling: Telling, shown: RoomSnapshot) -> Transaction:
    transaction = Transaction()
    telling.after(transaction, Scene(shown))  # type: ignore[arg-type]
    return transaction


async def committed(*transactions: Transaction) -> None:
    for one in transactions:
        for callback in one.after_commit:
            await callback()


def title(telling: Telling) -> str | None:
    found = telling.latest("r", NOW)
    return None if found is None else found.title


async def test_the_last_commit_counts_in_whatever_order_writers_go_on() -> None:
    telling = Telling()
    first, second, third = (written(telling, snapshot(name)) for name in ("first", "second", "third"))
    await committed(second)
    assert title(telling) == "second"
    await committed(third, first)
    assert title(telling) == "third"


async def test_a_visit_that_is_over_stays_forgotten() -> None:
    telling = Telling()
    before = written(telling, snapshot("before"))
    late = written(telling, snapshot("late"))
    end = written(telling, snapshot(state=RoomState.ENDED))
    await committed(before, end, late)
    assert title(telling) is None
    await committed(written(telling, snapshot("reopened")))
    assert title(telling) == "reopened"


async def test_rooms_that_nobody_has_come_to_are_not_kept() -> None:
    telling = Telling()
    await committed(written(telling, snapshot(arrivals=0)))
    assert title(telling) is None


async def test_a_commit_that_was_never_answered_has_the_room_read_again() -> None:
    telling = Telling()
    told: list[str] = []

    async def listens(room: str) -> None:
        told.append(room)

    telling.subscribe(listens)
    await committed(written(telling, snapshot("before")))
    written(telling, snapshot("nobody knows"))
    await telling.tell_untold()
    assert (told, title(telling)) == (["r", "r"], None)


async def test_a_room_opens_in_memory_as_on_disk() -> None:
    telling = Telling()
    later = replace(snapshot(state=RoomState.SCHEDULED), opens_at=NOW + timedelta(minutes=1))
    await committed(written(telling, later))
    for minutes, state in ((0, RoomState.SCHEDULED), (1, RoomState.OPEN)):
        found = telling.latest("r", NOW + timedelta(minutes=minutes))
        assert found is not None
        assert found.state is state


async def test_only_so_many_rooms_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST", 2)
    telling = Telling()
    for id in ("r", "b", "c"):
        await committed(written(telling, snapshot(id=id)))
        telling.latest("r", NOW)
    assert [telling.latest(id, NOW) is not None for id in ("r", "b", "c")] == [True, False, True]
