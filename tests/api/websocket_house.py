"""A house for websocket tests: real database, rules, media node, server and sockets."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Self

from aiohttp import ClientSession, ClientWebSocketResponse, WSMsgType, web
from aiohttp.test_utils import TestServer
from jsonschema import Draft202012Validator
from vardrum.control.api.problems import response
from vardrum.control.keyring import Keyring
from vardrum.control.live.asyncapi import document
from vardrum.control.live.live import Live
from vardrum.control.signaling import Signaling
from vardrum.control.store.models import Tenant
from vardrum.control.store.store import Store
from vardrum.control.turn import Turn
from vardrum.control.visits.bookings import NewRoom
from vardrum.control.visits.invitations import NewParticipant
from vardrum.control.visits.refused import Refused
from vardrum.control.visits.scene import Policy
from vardrum.control.visits.service import Visits
from vardrum.control.visits.values import Actor, Role, Verb, Vouched
from vardrum.sfu.node import Node
from vardrum.sfu.types import Device, DeviceStats, Listener, MediaSettings, Offer, Person, Source, Wish
from vardrum.tests.support.tables import lay

PORTAL = Actor("u1", "Ward 7")
ORIGIN = "https://video.example.org"
Message = dict[str, Any]


def _validators() -> dict[str, Draft202012Validator]:
    described = document()["components"]
    return {
        key.removeprefix("server_"): Draft202012Validator({**message["payload"], "components": described})
        for key, message in described["messages"].items()
        if key.startswith("server_")
    }


# Whatever the server says in these tests must be as asyncapi.json says.
DESCRIBED = _validators()


# An offer of Chromium with slots for a room of four.
OFFER = (Path(__file__).parents[1] / "unit" / "data" / "sdp" / "offer-chromium-small.sdp").read_bytes().decode("ascii")


class WatchedNode(Node):
    """The real node, which also keeps what it was told."""

    def __init__(self, settings: MediaSettings, listener: Listener) -> None:
        super().__init__(settings, listener)
        self.persons: dict[str, list[Person]] = {}
        self.told_persons: list[list[Person]] = []
        self.joined: list[tuple[str, str]] = []
        self.wished: dict[tuple[str, str], tuple[list[Wish], str | None]] = {}
        self.mutes: dict[tuple[str, str, str], bool] = {}
        self.sharing: dict[tuple[str, str], bool] = {}
        self.reports: list[tuple[str, str, DeviceStats]] = []
        self.dropped: list[tuple[str, str]] = []
        self.closed: list[str] = []
        self.during_join: Callable[[], Any] | None = None

    def people(self, room: str, persons: Sequence[Person], max_participants: int) -> None:
        self.persons[room] = list(persons)
        self.told_persons.append(list(persons))
        super().people(room, persons, max_participants)

    async def join(self, room: str, participant: str, offer: Offer) -> str:
        answer = await super().join(room, participant, offer)
        self.joined.append((room, participant))
        if self.during_join is not None:
            await self.during_join()
        return answer

    def kept(self, room: str, participant: str) -> bool:
        """Whether there is a peer."""
        return self.welcome(room, participant, Device(), 2).media == "kept"

    def wishes(self, room: str, participant: str, show: Sequence[Wish], pin: str | None) -> None:
        self.wished[room, participant] = (list(show), pin)
        super().wishes(room, participant, show, pin)

    def mute(self, room: str, participant: str, source: Source, muted: bool) -> None:
        self.mutes[room, participant, source] = muted
        super().mute(room, participant, source, muted)

    def share(self, room: str, participant: str, on: bool) -> None:
        self.sharing[room, participant] = on
        super().share(room, participant, on)

    def stats(self, room: str, participant: str, stats: DeviceStats) -> None:
        self.reports.append((room, participant, stats))
        super().stats(room, participant, stats)

    def drop(self, room: str, participant: str) -> None:
        self.dropped.append((room, participant))
        super().drop(room, participant)

    def close_room(self, room: str) -> None:
        self.closed.append(room)
        super().close_room(room)


class Page:
    """One client: everything it was told, in order, and ways to wait for more."""

    def __init__(self, websocket: ClientWebSocketResponse) -> None:
        self.socket = websocket
        self.heard: list[Message] = []
        self.undescribed: list[str] = []
        self._changed = asyncio.Event()
        self._reader = asyncio.get_running_loop().create_task(self._read())

    async def _read(self) -> None:
        async for message in self.socket:
            if message.type is WSMsgType.TEXT:
                said = json.loads(message.data)
                self.heard.append(said)
                self.undescribed += [error.message for error in DESCRIBED[said["type"]].iter_errors(said)]
                self._changed.set()
        self._changed.set()

    async def say(self, type: str, **fields: Any) -> None:
        await self.socket.send_str(json.dumps({"type": type, **fields}))

    async def until(self, condition: Callable[[], Any], within: float = 5) -> Any:
        """Waits until `condition` holds of what was heard."""
        try:
            async with asyncio.timeout(within):
                while not (value := condition()):
                    if self._reader.done():
                        break
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            raise AssertionError(f"not heard in time; so far: {self.heard}") from None
        if not value:
            raise AssertionError(f"closed with {self.socket.close_code} before; so far: {self.heard}")
        return value

    async def hears(self, type: str, within: float = 5, **fields: Any) -> Message:
        """The first message of this type with these fields that isn't taken yet; taken messages aren't found again."""

        def find() -> Message | None:
            for at, message in enumerate(self.heard):
                if message["type"] == type and all(message.get(name) == value for name, value in fields.items()):
                    return self.heard.pop(at)
            return None

        found: Message = await self.until(find, within)
        return found

    async def lists(self, type: str, condition: Callable[[list[Any]], Any], within: float = 5) -> list[Any]:
        """The newest whole list of this type, once it is as `condition` wants."""

        def newest() -> list[Any] | None:
            said = [message[type] for message in self.heard if message["type"] == type]
            return [said[-1]] if said and condition(said[-1]) else None

        found: list[Any] = (await self.until(newest, within))[0]
        return found

    async def offer(self, id: int = 1, **changes: Any) -> Message:
        """Offers a peer, and waits for its answer."""
        await self.say("offer", **{"id": id, "sdp": OFFER, "restart": False, **changes})
        return await self.hears("answer", id=id)

    async def sees(self, *participants: str) -> list[Any]:
        """Waits until the slots show these people, and nobody else."""
        return await self.lists("slots", lambda slots: {one["participant"] for one in slots} == set(participants))

    async def closed(self, within: float = 5) -> int | None:
        """The close code."""
        await asyncio.wait_for(asyncio.shield(self._reader), within)
        return self.socket.close_code

    async def settled(self) -> list[Message]:
        """Everything that had been sent when this was asked: a pong comes after it."""
        await self.say("ping", id="settled")
        await self.hears("pong", id="settled")
        return self.heard

    def stop_reading(self) -> None:
        """From now on nothing is read from the network, though the connection stays."""
        connection = self.socket._response.connection
        assert connection is not None
        assert connection.transport is not None
        connection.transport.pause_reading()
        self._reader.cancel()

    def cut(self) -> None:
        """The network ends the websocket, not the page: no close frame."""
        self.socket.get_extra_info("socket").shutdown(socket.SHUT_RDWR)

    async def close(self) -> None:
        await self.socket.close()
        await self._reader


class House:
    """Everything but HTTP's own resources."""

    def __init__(self, folder: Path, *, shards: int = 1, database: str = "", turn: Turn | None = None) -> None:
        self._stack = AsyncExitStack()
        self._turn = turn
        self._media = MediaSettings(port=0, shards=shards)
        file = folder / "house.sqlite"
        if not database:
            lay(file)
        self.store = Store(database or file)
        self.visits = Visits(self.store, Policy(public_url=ORIGIN), Keyring({"k1": bytes(32)}, "k1"))

    async def __aenter__(self) -> Self:
        await self._stack.enter_async_context(self.store)
        await self.visits.start()
        async with self.store.write() as transaction:
            if await transaction.db.get(Tenant, "demo") is None:
                transaction.db.add(Tenant(id="demo", name="Demo", created_at=datetime.now(UTC)))
        self.live = Live(self.visits, turn=self._turn)
        self.node = await self._stack.enter_async_context(WatchedNode(self._media, self.live))
        self.live.node = self.node
        await self.live.start()
        self._stack.push_async_callback(self.live.stop)
        app = web.Application(middlewares=[problems])
        app.add_routes(Signaling(self.live, self.visits, [ORIGIN], lambda request: request.host).routes())
        app.on_shutdown.append(lambda _: self.live.stop())
        self.server = TestServer(app)
        await self.server.start_server()
        self._stack.push_async_callback(self.server.close)
        self.client = await self._stack.enter_async_context(ClientSession())
        self.pages: list[Page] = []
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()
        assert [error for page in self.pages for error in page.undescribed] == []

    async def room(self, *people: tuple[str, Role], **fields: Any) -> Room:
        """A room that is open, with these people invited; caregivers are hosts, and nobody has to show a document."""
        now = datetime.now(UTC)
        new = NewRoom(
            care_unit={"name": "Ward 7"},
            starts_at=now,
            ends_at=now + timedelta(hours=1),
            **{"identity_policy": {"patient": "none"}, **fields},
        )
        invited = [NewParticipant(role, name, host=role is Role.CAREGIVER) for name, role in people]
        snapshot, links = await self.visits.create_room("demo", new, invited)
        secrets = {one.participant.display_name: (one.join_url or "").partition("#")[2] for one in links}
        ids = {one.participant.display_name: one.participant.id for one in links}
        return Room(self, snapshot.id, ids, secrets)

    async def open(self, **options: Any) -> Page:
        """A websocket that has not said anything."""
        address = self.server.make_url("/v1/ws")
        self.pages.append(Page(await self.client.ws_connect(address, **{"compress": 15, "max_msg_size": 0, **options})))
        return self.pages[-1]

    async def hello(self, token: str, last_chat: int | None = None, **options: Any) -> Page:
        page = await self.open(**options)
        more = {} if last_chat is None else {"last_chat": last_chat}
        await page.say("hello", token=token, device={}, **more)
        return page


class Room:
    """A room and its people's links."""

    def __init__(self, house: House, id: str, ids: dict[str, str], secrets: dict[str, str]) -> None:
        self.house = house
        self.id = id
        self.ids = ids
        self.secrets = secrets

    async def token(self, name: str) -> str:
        return (await self.house.visits.open_session(invite=self.secrets[name])).token

    async def comes(self, name: str) -> Page:
        """Somebody opens their link and says hello."""
        page = await self.house.hello(await self.token(name))
        await page.hears("welcome")
        return page

    async def host(self, name: str) -> Page:
        """A host comes in at once, vouched for by the portal."""
        vouched = Vouched("siths", "loa3", name, name)
        embed = await self.house.visits.embed_token(self.id, self.ids[name], vouched, tenant="demo")
        opened = await self.house.visits.open_session(embed_token=embed.embed_token)
        page = await self.house.hello(opened.token)
        await page.hears("welcome")
        await page.hears("admitted")
        return page

    async def does(self, verb: Verb, name: str, **more: Any) -> None:
        await self.house.visits.act(self.id, self.ids[name], verb, PORTAL, **more)

    async def admitted(self, name: str) -> Page:
        """Somebody comes by their link, and the portal lets them in."""
        page = await self.comes(name)
        await self.does(Verb.ADMIT, name)
        await page.hears("admitted")
        return page


@web.middleware
async def problems(request: web.Request, handler: Callable[[web.Request], Any]) -> web.StreamResponse:
    try:
        answer: web.StreamResponse = await handler(request)
        return answer
    except Refused as refused:
        return response(refused, ORIGIN)
