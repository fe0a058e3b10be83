"""The websocket at /v1/ws: bytes to checked messages, refusals to `error`, hostile clients to the door."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from urllib.parse import urlsplit

import structlog
from aiohttp import WSMessage, WSMsgType, web

from ..sfu.types import Device, OfferRefused
from .live import client_messages as heard
from .live.asyncapi import document
from .live.client import Client
from .live.conversation import Conversation, Declined
from .live.limits import Limits
from .live.live import Live
from .live.outbox import CLOSE_WITHIN, Outbox
from .live.server_messages import Error
from .visits.refused import Refused
from .visits.service import Visits

log = structlog.get_logger(__name__)

PATH = "/v1/ws"
HOSTILE = 4004
POLICY = 1008
# Whom a hello is refused to may come back, as when the room is locked or not open yet, except after these.
CLOSES = {"token-not-accepted": 4003, "session-replaced": 4002, "gone": 4002, "not-found": 4002}
TRY_LATER = 1013
SERVER_ERROR = 1011

# Seconds from the websocket to its hello: a slow phone's round trips, many times over.
HELLO_WITHIN = 10.0
# Websockets that haven't said hello yet; anyone can open one, so they are counted.
STRANGERS = 1000
# A hello is a token and a few words; nobody unknown gets to send more.
HELLO_LIMIT = 16 * 1024


class Signaling:
    """The handlers that the application mounts."""

    def __init__(
        self, live: Live, visits: Visits, origins: Collection[str], host: Callable[[web.Request], str]
    ) -> None:
        """
        Args:
            origins: addresses of the pages that may connect, such as `https://video.example.org`; our own host may.
            host: what the client took our own host to be (`api.proxies`).
        """
        self._host = host
        self._live = live
        self._visits = visits
        self._origins = frozenset("{0.scheme}://{0.netloc}".format(urlsplit(origin)) for origin in origins)
        self._strangers = 0

    def routes(self) -> list[web.RouteDef]:
        """GET /v1/ws and GET /asyncapi.json."""
        return [web.get(PATH, self.connect), web.get("/asyncapi.json", self.asyncapi)]

    async def asyncapi(self, request: web.Request) -> web.Response:
        """The websocket's messages, described."""
        return web.json_response(document())

    async def connect(self, request: web.Request) -> web.WebSocketResponse:
        """One websocket, from its opening to its close."""
        if not self._welcome_from(request):
            raise Refused("not-allowed", "this Origin may not open a websocket here")
        if self._strangers >= STRANGERS:
            raise Refused("unavailable", "too many websockets are waiting to say hello", retry_after=5)
        # Pings are answered here, because pongs count as signs of life. The limit of the reader is larger than the
        # message's own, so that what is only a little too long gets an error and not a closed connection.
        socket = web.WebSocketResponse(
            autoping=False, max_msg_size=2 * heard.MESSAGE_LIMIT, compress=True, timeout=CLOSE_WITHIN
        )
        await socket.prepare(request)
        visitor = _Visitor(socket, request, self._live, self._visits)
        self._strangers += 1
        try:
            welcomed = await visitor.hello()
        finally:
            self._strangers -= 1
            await visitor.finish_unless_welcomed()
        if welcomed:
            await visitor.talk()
        return socket

    def _welcome_from(self, request: web.Request) -> bool:
        origin = request.headers.get("Origin")
        if origin is None or origin in self._origins:
            return True
        try:
            return urlsplit(origin).netloc == self._host(request)
        except ValueError:  # it is no address
            return False


class _Visitor:
    """One websocket: a stranger until its hello, then a client."""

    def __init__(self, socket: web.WebSocketResponse, request: web.Request, live: Live, visits: Visits) -> None:
        self._socket = socket
        self._live = live
        self._visits = visits
        self._outbox = Outbox(socket, request)
        self._limits = Limits(live.now())
        self._client: Client | None = None
        self._conversation: Conversation | None = None
        self._room = self._session = ""

    async def hello(self) -> bool:
        """Waits for the hello and answers it; false when the websocket is over instead."""
        try:
            async with asyncio.timeout(HELLO_WITHIN):
                while True:
                    text = await self._next(HELLO_LIMIT)
                    if text is None:
                        return False
                    message = self._read(text)
                    if isinstance(message, heard.Hello):
                        break
                    if message is not None:
                        self._refuse("hello-expected", "the first message is `hello`", heard.about(text))
        except TimeoutError:
            self._outbox.put(Error(code="hello-expected", detail="no `hello` came in time").encode())
            self._outbox.close(POLICY)
            return False
        return await self._answer(message)

    async def _answer(self, hello: heard.Hello) -> bool:
        began = self._live.now()
        try:
            session = await self._visits.hello(hello.token, self._live.takes)
        except Refused as refused:
            self._outbox.put(Error(code=refused.name, detail=refused.detail, re="hello").encode())
            self._outbox.close(CLOSES.get(refused.name, TRY_LATER))
            return False
        except Exception:
            log.exception("a hello was not answered")
            self._outbox.put(
                Error(code="internal-error", detail="something went wrong on our side", re="hello").encode()
            )
            self._outbox.close(SERVER_ERROR)
            return False
        self._room, self._session = session.room, session.id
        last_chat = hello.last_chat or 0
        client = Client(session.id, self._outbox, _device(hello.device), last_chat, self._limits, self._live.now())
        self._client = client
        self._conversation = await self._live.enter(session, client)
        self._live.timings.welcome.observe(self._live.now() - began)
        return True

    async def finish_unless_welcomed(self) -> None:
        """Ends what a stranger's websocket holds."""
        if self._conversation is None:
            await self._finish()

    async def talk(self) -> None:
        """Acts on one message after the other until the websocket is over."""
        try:
            while (text := await self._next(heard.MESSAGE_LIMIT)) is not None:
                await self._hear(text)
        finally:
            await self._finish()

    async def _finish(self) -> None:
        if self._client is not None:
            self._live.detach(self._room, self._session, self._client)
        await self._outbox.finish()

    async def _hear(self, text: str) -> None:
        re = heard.about(text)
        if self._limits.flooded(self._live.now()):
            self._refuse("too-many-requests", "too many messages", re)
            return
        message = self._read(text)
        if message is None or self._conversation is None:
            return
        if isinstance(message, heard.Hello):
            self._refuse("hello-twice", "`hello` is said once on a websocket", re)
            return
        if not self._limits.allow(message.type, self._live.now()):
            detail = f"too many `{message.type}` messages"
            self._outbox.put(Error(code="too-many-requests", detail=detail, re=re).encode())
            return
        try:
            await self._conversation.act(message)
        except (Refused, OfferRefused, Declined) as refused:
            # Not counted: it fits its schema, and may just have crossed with somebody else's decision.
            self._outbox.put(Error(code=refused.code, detail=refused.detail, re=re).encode())
        except Exception:
            log.exception("a message was not acted on", message=message.type)
            detail = "something went wrong on our side; nothing has changed"
            self._outbox.put(Error(code="internal-error", detail=detail, re=re).encode())

    def _read(self, text: str) -> heard.Said | None:
        try:
            return heard.read(text)
        except heard.Unreadable as error:
            self._refuse(error.code, error.detail, error.re)
            return None

    def _refuse(self, code: str, detail: str, re: str | int | None) -> None:
        self._outbox.put(Error(code=code, detail=detail, re=re).encode())
        if not self._limits.forgive(self._live.now()):
            self._outbox.close(HOSTILE)

    async def _next(self, limit: int) -> str | None:
        """The next text message, or None when nothing more will be read."""
        while not self._outbox.closing:
            message: WSMessage = await self._socket.receive()
            if self._client is not None:
                self._client.answered = self._live.now()
            match message.type:
                case WSMsgType.TEXT if len(message.data) <= limit and len(message.data.encode()) <= limit:
                    return str(message.data)
                case WSMsgType.TEXT:
                    self._refuse("message-too-large", f"at most {limit // 1024} kB are accepted", None)
                case WSMsgType.BINARY:
                    self._refuse("bad-message", "messages are text", None)
                case WSMsgType.PING:
                    await self._pong(message.data)
                case WSMsgType.PONG:
                    pass
                case _:
                    return None
        return None

    async def _pong(self, data: bytes) -> None:
        if self._limits.flooded(self._live.now()):
            self._refuse("too-many-requests", "too many websocket pings", None)
        else:
            await self._socket.pong(data)


def _device(said: heard.DeviceSaid) -> Device:
    return Device(
        memory=said.memory,
        cores=said.cores,
        mobile=said.mobile,
        network=said.network,
        save_data=said.save_data,
        efficient=tuple(said.efficient or ()),
    )
