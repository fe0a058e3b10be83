"""The face of `sfu.node.Node` that rooms use."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from ...sfu.types import Device, Offer, Person, SlotView, Source, Welcome, Wish


class MediaNode(Protocol):
    """Media of one machine; see `sfu.node.Node`, which is the one there is."""

    def people(self, room: str, persons: Sequence[Person], max_participants: int) -> None: ...

    def welcome(self, room: str, participant: str, device: Device, max_participants: int) -> Welcome: ...

    async def join(self, room: str, participant: str, offer: Offer) -> str: ...

    def slots(self, room: str, participant: str) -> list[SlotView]: ...

    def wishes(self, room: str, participant: str, show: Sequence[Wish], pin: str | None) -> None: ...

    def mute(self, room: str, participant: str, source: Source, muted: bool) -> None: ...

    def share(self, room: str, participant: str, on: bool) -> None: ...

    def drop(self, room: str, participant: str) -> None: ...

    def close_room(self, room: str) -> None: ...
