"""The visits of this installation: every act is one transaction, on disk before anyone hears of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any

from .values import Actor, EmbedToken, Invited, OpenedSession, Participant, RoomSnapshot, Session, Verb, Vouched

RoomCallback = Callable[[str], Awaitable[None]]
MuteCallback = Callable[[str, str, Actor], Awaitable[None]]


class Visits:
    """Rooms, people and admission; all rules are in `rules` and `identity`, all memory in the store.

    Methods that a portal reaches take `tenant`: whatever belongs to another tenant is refused as `not-found`.
    Everything raises `Refused`; nothing has changed then.
    """

    # -- arriving (used by api.sessions and signaling) --

    async def open_session(
        self, *, invite: str | None = None, embed_token: str | None = None, resume: str | None = None
    ) -> OpenedSession:
        """Exchanges exactly one secret for a session (POST /v1/sessions)."""
        raise NotImplementedError

    async def session(self, token: str) -> Session:
        """Whose token this is. Raises TokenRefused. An ended room's sessions are found until `reopen` is too late."""
        raise NotImplementedError

    async def arrive(self, session: str) -> Session:
        """`hello` of the session with this id: invited -> waiting, or straight in where the rules say so.

        Also writes down that it is connected. Raises Refused `gone`, `room-locked` or `session-replaced`.
        """
        raise NotImplementedError

    async def leave(self, session: str) -> Session:
        """Leaves on their own account; a page that has left can come back."""
        raise NotImplementedError

    async def connection(self, session: str, connected: bool, at: datetime | None = None) -> None:
        """Writes down that a session is connected, or lost since `at` (default now); five minutes later it has left."""
        raise NotImplementedError

    # -- admission --

    async def act(
        self,
        room: str,
        participant: str,
        verb: Verb,
        by: Actor,
        *,
        session: str | None = None,
        reason: str | None = None,
        host: str | None = None,
        tenant: str | None = None,
    ) -> Participant:
        """identify, admit, hold, deny, remove, mute; `host` (identify by key) defaults to `by.participant`.

        When `by.participant` is set, that participant must be an admitted host of this room, else `not-allowed`.
        """
        raise NotImplementedError

    async def record_identity(
        self,
        room: str,
        participant: str,
        method: str,
        by: Actor,
        *,
        document_type: str | None = None,
        session: str | None = None,
        tenant: str | None = None,
    ) -> Participant:
        """A host saw a document (`document`) or knows the person (`known_in_person`)."""
        raise NotImplementedError

    async def lock(self, room: str, by: Actor, *, tenant: str | None = None) -> RoomSnapshot:
        raise NotImplementedError

    async def unlock(self, room: str, by: Actor, *, tenant: str | None = None) -> RoomSnapshot:
        raise NotImplementedError

    async def end(self, room: str, by: Actor, *, tenant: str | None = None) -> RoomSnapshot:
        raise NotImplementedError

    async def reopen(self, room: str, by: Actor, *, tenant: str | None = None) -> RoomSnapshot:
        raise NotImplementedError

    # -- reading and hearing --

    async def snapshot(self, room: str, *, tenant: str | None = None) -> RoomSnapshot:
        """The room as it is on disk."""
        raise NotImplementedError

    def subscribe(self, callback: RoomCallback) -> None:
        """`callback(room id)` is awaited after each commit that changed a room, in commit order per room."""
        raise NotImplementedError

    def subscribe_mutes(self, callback: MuteCallback) -> None:
        """`callback(room, participant, by)` after an accepted `mute` of a microphone, which only memory knows."""
        raise NotImplementedError

    # -- used by the HTTP API and the app only --

    async def create_room(self, tenant: str, new: Any) -> tuple[RoomSnapshot, list[Invited]]:
        raise NotImplementedError

    async def invite(self, room: str, new: Any, *, by: Actor | None, tenant: str) -> Invited:
        raise NotImplementedError

    async def embed_token(self, room: str, participant: str, vouched: Vouched | None, *, tenant: str) -> EmbedToken:
        raise NotImplementedError

    async def tick(self) -> None:
        """Opens and closes rooms, lets the lost leave; called once a second."""
        raise NotImplementedError
