"""Bots in real visits: the contract's HTTP and websocket here, ICE, DTLS, SRTP and media in the native crowd.

A `Bot` is one participant; a `Visit` is people who meet. Load tests and benchmarks build on these.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import aiohttp

from . import description
from .description import Credentials, Line, Remote
from .native_bots import NativeBots
from .portal import Portal, call, invitation

# An offer that is refused for load is made again, as pages do: so often, after so many seconds.
PATIENCE, TRY_AGAIN = 15, 2.0
_numbers = itertools.count(1)


class Overloaded(ConnectionError):
    """The server keeps what it has for the visits that run."""


class Closed(ConnectionError):
    """The websocket was closed, with `code` (CONTRACT, "Close codes"; 1006 where nothing was said)."""

    def __init__(self, code: int) -> None:
        super().__init__(f"the websocket was closed with {code}")
        self.code = code


@dataclass(frozen=True)
class Sends:
    """What a bot sends instead of what the server asks for: pictures alone, of so many bits a second, in packets of at
    most `packet` bytes before SRTP."""

    bitrate: float
    rate: float
    packet: int


class Crowd:
    """Native processes and the bots in them: hands each event to its bot.

    Attributes:
        lost: bots whose path was lost, or whose handshake failed, with why.
        own_addresses: whether each bot has an address of loopback for itself; else it has the machine's.
    """

    def __init__(self, processes: int = 1, *, own_addresses: bool = True) -> None:
        self.natives = [NativeBots(self._on_event) for _ in range(processes)]
        self.own_addresses = own_addresses
        self.bots: dict[int, Bot] = {}
        self.lost: list[str] = []

    def native(self, number: int) -> NativeBots:
        """The process in which bot `number` lives."""
        return self.natives[number % len(self.natives)]

    def _on_event(self, event: str, number: int, at: int, what: str) -> None:
        if event in ("lost", "failed"):
            self.lost.append(f"bot {number} {event}: {what}")
        if (bot := self.bots.get(number)) is not None:
            bot.on_native(event, at, what)


class Bot:
    """One participant.

    Attributes:
        state: the last of `waiting identifying held admitted denied removed ended`; "" before.
        slots: participant to source to mid, as the server last said.
        people: who is inside, oneself too, as the server last said.
        times: seconds since 1970 of what has happened: `hello offer answer connected picture sound admitted slots`.
        pictures, sounds: SSRCs whose first whole picture, or first sound, has come, and when.
        closed: the code that the websocket was closed with by the server; None while it is open.
        refused: offers that there was no room for.
    """

    def __init__(
        self,
        crowd: Crowd,
        base: str,
        secret: Mapping[str, str],
        *,
        layers: int = 1,
        sends: Sends | None = None,
        obeys: bool = False,
    ) -> None:
        """
        Args:
            secret: the body of `POST /v1/sessions`.
            layers: of the camera: 1 without a rid, or as many as `welcome.send` says.
            sends: what is sent, whatever `welcome.send` says.
            obeys: a camera is sent as each later `send` says; else as at first, so that its traffic is known.
        """
        self.number = next(_numbers)
        self.state = ""
        self.slots: dict[str, dict[str, str]] = {}
        self.queue: list[dict[str, Any]] = []
        self.times: dict[str, float] = {}
        self.pictures: dict[int, float] = {}
        self.sounds: dict[int, float] = {}
        self.people: list[dict[str, Any]] = []
        self.closed: int | None = None
        self.session: dict[str, Any] = {}
        self.welcome: dict[str, Any] = {}
        self.errors: list[dict[str, Any]] = []
        self.refused = 0
        self._crowd = crowd
        self._native = crowd.native(self.number)
        self._base = base
        self._secret = dict(secret)
        self._layers = layers
        self._sends = sends
        self._obeys = obeys
        self._offers = itertools.count(1)
        self._answers: dict[int, asyncio.Future[str]] = {}
        self._credentials = Credentials()
        self._ssrcs = _ssrcs()
        self._remote = Remote()
        self._changed = asyncio.Event()
        self._reader: asyncio.Task[None] | None = None
        self._socket: aiohttp.ClientWebSocketResponse | None = None
        # Everybody has an address of their own, as in life: what limits one address must not limit the crowd.
        self.address = f"127.{64 + self.number // 62500 % 128}.{self.number // 250 % 250}.{self.number % 250 + 1}"
        local = (self.address, 0) if crowd.own_addresses else None
        connector = aiohttp.TCPConnector(limit=2, local_addr=local)
        self._http = aiohttp.ClientSession(connector=connector)
        crowd.bots[self.number] = self

    @property
    def id(self) -> str:
        """The participant's id."""
        return str(self.session["participant"])

    async def arrive(self) -> None:
        """Opens the session and says hello; returns once the server has said where one is."""
        await self.open()
        await self.hello()

    async def open(self) -> None:
        """Opens the session: by what one was invited with, and later by the resume secret."""
        self.session = await call(self._http, "POST", f"{self._base}/v1/sessions", self._secret)
        self._secret = {"resume": self.session["resume"]}

    async def hello(self) -> None:
        """A websocket, new or anew."""
        await self._hang_up()
        self.state, self.welcome, self.closed = "", {}, None
        # A network that is away doesn't say goodbye either.
        timeout = aiohttp.ClientWSTimeout(ws_close=1.0)
        url = self.session["websocket_url"]
        self._socket = await self._http.ws_connect(url, max_msg_size=1 << 20, timeout=timeout)
        self._reader = asyncio.create_task(self._read(self._socket))
        self.times["hello"] = time.time()
        await self.say("hello", token=self.session["token"], device={"cores": 4})
        await self.until(lambda: self.welcome and self.state, "welcome")

    async def say(self, kind: str, **fields: Any) -> None:
        """Sends a message."""
        assert self._socket is not None, "not arrived"
        await self._socket.send_str(json.dumps({"type": kind, **fields}))

    async def until(self, condition: Callable[[], Any], what: str, deadline: float = 20.0) -> None:
        """Until something is so for this bot; asked whenever something has happened to it.

        Raises:
            TimeoutError: naming `what`.
            Closed: the server closed the websocket first.
        """
        try:
            async with asyncio.timeout(deadline):
                while not condition():
                    if self.closed is not None:
                        raise Closed(self.closed)
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            errors = f", errors {self.errors[-2:]}" if self.errors else ""
            raise TimeoutError(f"bot {self.number} ({self.state}): no {what} in {deadline:g} s{errors}") from None

    async def join(self) -> None:
        """Offers as soon as one is admitted; media begins. Again: a new peer that replaces the former."""
        await self.until(lambda: self.state in ("admitted", "identifying"), "admission", 60)
        self._credentials = Credentials()
        self._ssrcs = _ssrcs()
        self.pictures.clear()
        self.sounds.clear()
        self.times["offer"] = time.time()
        sdp = self._offer()
        for _ in range(PATIENCE):
            try:
                answer = description.read(await self.offer(sdp, restart=False))
                break
            except Overloaded:
                self.refused += 1
                await asyncio.sleep(TRY_AGAIN)
        else:
            raise Overloaded(f"bot {self.number}: no room for it in {PATIENCE * TRY_AGAIN:.0f} s")
        self.times["answer"] = time.time()
        self._remote = answer
        self._native.say("add", **self._plan(answer))
        if self._obeys:
            self._obey(self.welcome["send"]["camera"]["encodings"])

    async def restart_ice(self) -> None:
        """An ICE restart of the peer one has."""
        self._credentials = Credentials()
        answer = description.read(await self.offer(self._offer(), restart=True))
        local = self._credentials.as_dict()
        self._native.say("restart", bot=self.number, local=local, remote=answer.credentials)

    async def offer(self, sdp: str, *, restart: bool) -> str:
        """Sends an offer; returns the answer.

        Raises:
            Overloaded: the server has no room just now.
            ConnectionError: it was refused.
            TimeoutError: no answer came.
        """
        number = next(self._offers)
        self._answers[number] = asyncio.get_running_loop().create_future()
        await self.say("offer", id=number, sdp=sdp, restart=restart)
        return await asyncio.wait_for(self._answers[number], 20)

    async def wish(self, height: int = 360) -> None:
        """Wishes for everyone's camera at this height."""
        show = [{"participant": other, "source": "camera", "max_height": height} for other in self.slots]
        await self.say("wishes", show=show)

    async def mute(self, source: str, muted: bool) -> None:
        """Says so, and sends nothing of it; or again."""
        await self.say("muted", source=source, muted=muted)
        if source == "microphone":
            self._native.say("send", bot=self.number, sound=not muted)
        else:
            self._native.say("send", bot=self.number, rids=[] if muted else self._rids() or [""])

    def send(self, **fields: Any) -> None:
        """Sends from now on (`sound`, `rids`; see the native crowd), without a word to the server."""
        self._native.say("send", bot=self.number, **fields)

    def rebind(self, *, quiet: bool) -> None:
        """Media goes on from another port."""
        self._native.say("rebind", bot=self.number, quiet=quiet)

    def deaf(self, on: bool) -> None:
        """In a dead zone, or out of it: no media, no websocket. To come back (`hello`, `restart_ice`) is up to you."""
        if on and self._reader is not None:
            # Nobody answers the server's pings any more.
            self._reader.cancel()
        self._native.say("deaf", bot=self.number, on=on)

    def nudge(self) -> None:
        """Whoever waits for something (`until`) looks again."""
        self._changed.set()

    async def heard(self) -> dict[str, Any]:
        """What this bot has sent and heard since it joined (`Inside::describe` of the native crowd)."""
        return (await self._native.ask(self.number)).get(self.number, {})

    def fed(self) -> set[int]:
        """SSRCs of the slots that somebody is in now."""
        mids = {mid for sources in self.slots.values() for mid in sources.values()}
        return {line.ssrcs[0] for line in self._remote.lines if line.ssrcs and line.mid in mids}

    async def leave(self) -> None:
        """Says so, and ends media."""
        with contextlib.suppress(ConnectionError):
            await self.say("leave")
        await self.close()

    async def close(self) -> None:
        """Ends media and the websocket, without a leave; may be called twice."""
        if self._crowd.bots.pop(self.number, None) is not None and "answer" in self.times:
            self._native.say("stop", bot=self.number)
        await self._hang_up()
        await self._http.close()

    async def meets(self, others: int) -> None:
        """Until there is a slot for as many others, and their first pictures; wishes for them in between."""
        await self.until(lambda: len(self.slots) == others, "slot for everyone")
        await self.wish()
        await self.until(lambda: self.sees(others), "picture of everyone")

    def sees(self, others: int) -> bool:
        """Whether the first pictures of as many others have come."""
        return len(self.pictures) >= others

    def on_native(self, event: str, at: int, what: str) -> None:
        """Takes an event of the native crowd."""
        if event in ("picture", "sound"):
            (self.pictures if event == "picture" else self.sounds).setdefault(int(what), at / 1e6)
        self.times.setdefault(event, at / 1e6)
        self._changed.set()

    async def _hang_up(self) -> None:
        if self._reader is not None:
            self._reader.cancel()
        if self._socket is not None:
            await self._socket.close()

    def _obey(self, encodings: Sequence[Mapping[str, Any]]) -> None:
        """Sends the layers that are wanted, at the rates that are wanted."""
        if encodings and not self._rids():
            # A lone encoding has no rid, and can't be switched off.
            self.send(rids=[""], bitrates={"": encodings[-1]["maxBitrate"]})
        elif encodings:
            bitrates = {one["rid"]: one["maxBitrate"] for one in encodings}
            self.send(rids=[one["rid"] for one in encodings if one["active"]], bitrates=bitrates)

    def _rids(self) -> list[str]:
        encodings = self.welcome["send"]["camera"]["encodings"]
        return [one["rid"] for one in encodings if "rid" in one] if self._layers > 1 else []

    def _offer(self) -> str:
        rids = self._rids()
        slots = self.welcome["slots"]
        lines = [
            Line("audio", "sendonly", ssrcs=self._ssrcs[:1]),
            Line("video", "sendonly", rids=rids, ssrcs=() if rids else self._ssrcs[1:3]),
            Line("video", "sendonly", ssrcs=self._ssrcs[7:9]),
            *[Line("audio", "recvonly")] * slots["audio"],
            *[Line("video", "recvonly")] * slots["video"],
        ]
        return description.write(lines, self._credentials, self._native.fingerprint)

    def _plan(self, answer: Remote) -> dict[str, Any]:
        """What the native bot is to be, by the server's answer."""
        camera = answer.lines[1]
        media = next((pt for pt, name in camera.payloads.items() if name == "vp8"), description.VP8)
        wanted = self.welcome["send"]["camera"]
        layers = [one for one in wanted["encodings"] if self._layers > 1] or [wanted["encodings"][-1]]
        video = [
            {
                "ssrc": self._ssrcs[1 + 2 * place],
                "rtx_ssrc": self._ssrcs[2 + 2 * place],
                "pt": media,
                "rtx_pt": camera.repairs.get(media, description.VP8_RTX),
                "mid": camera.mid,
                **({"rid": layer["rid"]} if self._layers > 1 and "rid" in layer else {}),
                "bitrate": layer["maxBitrate"],
                "width": int(wanted["width"] / layer.get("scaleResolutionDownBy", 1)),
                "height": int(wanted["height"] / layer.get("scaleResolutionDownBy", 1)),
                "rate": wanted["frame_rate"],
            }
            for place, layer in enumerate(layers[:3])
        ]
        sound = {"ssrc": self._ssrcs[0], "pt": description.OPUS, "mid": answer.lines[0].mid}
        if self._sends is not None:
            video = [{**video[-1], **asdict(self._sends)}]
        return {
            "bot": self.number,
            "from": self.address if self._crowd.own_addresses else "::" if answer.address[0] == "[" else "0.0.0.0",
            "server": answer.address,
            "local": self._credentials.as_dict(),
            "remote": answer.credentials,
            "fingerprint": answer.fingerprint,
            "extensions": answer.extensions,
            "sound": sound if self._sends is None else None,
            "video": video,
            "hears": hears(answer),
        }

    async def _read(self, websocket: aiohttp.ClientWebSocketResponse) -> None:
        async for message in websocket:
            if message.type is aiohttp.WSMsgType.TEXT:
                self._on_message(json.loads(message.data))
                self._changed.set()
        self.closed = websocket.close_code or 1006
        for answer in self._answers.values():
            if not answer.done():
                answer.set_exception(Closed(self.closed))
        self._changed.set()

    def _on_message(self, said: dict[str, Any]) -> None:
        match said["type"]:
            case "welcome":
                self.welcome = said
            case "waiting" | "identifying" | "held" | "admitted" | "denied" | "removed" | "ended":
                self.state = said["type"]
                self.times.setdefault(said["type"], time.time())
            case "answer" if not self._answers[said["id"]].done():
                self._answers[said["id"]].set_result(said["sdp"])
            case "error":
                self.errors.append(said)
                answer = self._answers.get(said.get("re", 0))
                if answer is not None and not answer.done():
                    kind = Overloaded if said["code"] == "overloaded" else ConnectionError
                    answer.set_exception(kind(f"offer refused: {said['code']} {said['detail']}"))
            case "queue":
                self.queue = said["queue"]
            case "send" if self._obeys and "answer" in self.times:
                self._obey(said.get("camera", {}).get("encodings", []))
            case "participants":
                self.people = said["participants"]
            case "slots":
                slots: dict[str, dict[str, str]] = {}
                for slot in said["slots"]:
                    slots.setdefault(slot["participant"], {})[slot["source"]] = slot["mid"]
                self.slots = slots
                if slots:
                    self.times.setdefault("slots", time.time())


def _ssrcs() -> list[int]:
    """Of all streams of one sender: they differ in the last four bits (`bench/native/src/ear.rs`)."""
    first = secrets.randbits(27) << 4
    return [first + place for place in range(1, 10)]


def hears(remote: Remote) -> list[dict[str, Any]]:
    """The streams that the other side announces, as native bots take them."""
    return [
        {
            "ssrc": line.ssrcs[0],
            "sound": line.kind == "audio",
            **({"rtx_ssrc": line.ssrcs[1]} if len(line.ssrcs) > 1 else {}),
        }
        for line in remote.lines
        if line.ssrcs and line.direction in ("sendonly", "sendrecv")
    ]


class Visit:
    """A host, a patient and relatives who meet: the host comes in vouched for, and admits the others.

    Attributes:
        bots: the host first.
    """

    def __init__(self, bots: Sequence[Bot]) -> None:
        self.bots = list(bots)

    @classmethod
    async def begin(
        cls,
        crowd: Crowd,
        portal: Portal,
        *,
        people: int = 3,
        layers: int = 1,
        minutes: float = 120,
        sends: Sends | None = None,
    ) -> Visit:
        """Books a room, brings everybody in, and returns when everyone has a picture of everyone else.

        Raises:
            TimeoutError, ConnectionError, Refused: somebody did not get so far; all of them have gone.
        """
        _, invited = await portal.book(people, minutes=minutes)
        secrets = [await portal.vouch(invited[0]), *(invitation(one) for one in invited[1:])]
        visit = cls([Bot(crowd, portal.base, secret, layers=layers, sends=sends) for secret in secrets])
        try:
            await visit._meet()
        except BaseException:
            await visit.close()
            raise
        return visit

    async def _meet(self) -> None:
        host, *others = self.bots
        await host.arrive()
        await asyncio.gather(host.join(), *(self._come_in(host, one) for one in others))
        await self.seen()

    async def _come_in(self, host: Bot, guest: Bot) -> None:
        await guest.arrive()
        if guest.state == "waiting":
            await host.until(lambda: any(one["participant"] == guest.id for one in host.queue), "guest in the queue")
            await host.say("admit", participant=guest.id)
        await guest.join()

    async def seen(self) -> None:
        """Until everyone has the first picture of everyone else."""
        others = len(self.bots) - 1
        await asyncio.gather(*(bot.meets(others) for bot in self.bots))

    async def close(self) -> None:
        """Everybody leaves."""
        await asyncio.gather(*(bot.leave() if bot.welcome else bot.close() for bot in self.bots))
