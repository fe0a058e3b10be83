"""A participant without a browser: the contract's HTTP and websocket, and aiortc's RTCPeerConnection for media."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Callable, Mapping
from typing import Any, Self

import aiohttp
import aioice.ice
from aiortc import (
    MediaStreamTrack,
    RTCBundlePolicy,
    RTCConfiguration,
    RTCPeerConnection,
    RTCRtpSender,
    RTCSessionDescription,
)

from .aiortc_tracks import NumberedPicture, Tone, Watched, watch
from .waiting import wait_until


def on_loopback(use_ipv4: bool, use_ipv6: bool) -> list[str]:
    """This machine's addresses, for aioice: itself it leaves loopback out, and bots have no other to rely on."""
    return ["127.0.0.1"]


class AiortcClient:
    """One participant.

    Attributes:
        state: the last of `waiting identifying held admitted denied removed ended`; "" before.
        slots: participant to source to mid, as the server last said.
        participants: display name by id, as the server last said.
        watched: what has come, by mid.
        heard: every message, in order.
    """

    def __init__(self, base: str, person: int, *, secret: Mapping[str, str]) -> None:
        """
        Args:
            base: the server's URL.
            person: number of the synthetic person (`codecs.media`).
            secret: the body of `POST /v1/sessions`: `{"invite": …}`, `{"embed_token": …}` or `{"resume": …}`.
        """
        self.person = person
        self.state = ""
        self.slots: dict[str, dict[str, str]] = {}
        self.participants: dict[str, str] = {}
        self.watched: dict[str, Watched] = {}
        self.heard: list[dict[str, Any]] = []
        self.session: dict[str, Any] = {}
        self.welcome: dict[str, Any] = {}
        self.peer: RTCPeerConnection | None = None
        self._base = base
        self._secret = dict(secret)
        self._offers = itertools.count(1)
        self._answers: dict[int, asyncio.Future[str]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._http = aiohttp.ClientSession()
        self._socket: aiohttp.ClientWebSocketResponse | None = None
        self._reader: asyncio.Task[None] | None = None

    @property
    def id(self) -> str:
        return str(self.session["participant"])

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def arrive(self) -> Self:
        """Opens the session and says hello; returns once the server has said where one is."""
        async with self._http.post(f"{self._base}/v1/sessions", json=self._secret) as answer:
            said = await answer.json()
            assert answer.status in (200, 201), said
            self.session = said
        self._socket = await self._http.ws_connect(self.session["websocket_url"], max_msg_size=1 << 20)
        self._reader = asyncio.create_task(self._read(self._socket))
        await self.say("hello", token=self.session["token"], device={"cores": 2})
        await self.until(lambda: self.welcome and self.state, "the welcome")
        return self

    async def say(self, kind: str, **fields: Any) -> None:
        """Sends a message."""
        assert self._socket is not None
        await self._socket.send_str(json.dumps({"type": kind, **fields}))

    async def until(self, condition: Callable[[], Any], what: str, deadline: float = 15.0) -> Any:
        """Until something is so for this client."""
        return await wait_until(condition, deadline=deadline, what=f"person {self.person}: {what}")

    async def join(
        self, *, pictures: bool = True, codec: str | None = None, film: tuple[int, int, int] | None = None
    ) -> None:
        """Offers a new connection, as soon as one is let in, and returns when media is connected.

        Args:
            film: width, height and frames a second of the camera; None: as the server asks for.
            codec: MIME type of the only codec that the camera is offered in; None for all that aiortc knows.
        """
        await self.until(lambda: self.state in ("admitted", "identifying"), "let in", deadline=30)
        if self.peer is not None:
            await self.peer.close()
            self.watched = {}
        peer = RTCPeerConnection(RTCConfiguration(iceServers=[], bundlePolicy=RTCBundlePolicy.MAX_BUNDLE))
        self.peer = peer
        camera = self.welcome["send"]["camera"]
        peer.addTransceiver(Tone(self.person), direction="sendonly")
        picture = NumberedPicture(self.person, *(film or (camera["width"], camera["height"], camera["frame_rate"])))
        sending = peer.addTransceiver(picture if pictures else "video", direction="sendonly")
        if codec is not None:
            known = RTCRtpSender.getCapabilities("video").codecs
            sending.setCodecPreferences([one for one in known if one.mimeType in (codec, "video/rtx")])
        peer.addTransceiver("video", direction="sendonly")
        for kind in ("audio", "video"):
            for _ in range(self.welcome["slots"][kind]):
                peer.addTransceiver(kind, direction="recvonly")
        peer.on("track", self._on_track)
        await peer.setLocalDescription(await peer.createOffer())
        answer = await self.offer(peer.localDescription.sdp)
        await peer.setRemoteDescription(RTCSessionDescription(sdp=answer, type="answer"))
        await self.until(lambda: peer.connectionState == "connected", "media connected")

    async def offer(self, sdp: str) -> str:
        """Sends an offer; returns the answer.

        Raises:
            AssertionError: it was refused.
        """
        number = next(self._offers)
        self._answers[number] = asyncio.get_running_loop().create_future()
        await self.say("offer", id=number, sdp=sdp, restart=False)
        return await asyncio.wait_for(self._answers[number], 10)

    async def wish(self, height: int = 360) -> None:
        """Wishes for everyone's camera at this height."""
        show = [{"participant": other, "source": "camera", "max_height": height} for other in self.slots]
        await self.say("wishes", show=show)

    def of(self, participant: str, source: str) -> Watched:
        """What has come of somebody, by the slots that the server last said."""
        mid = self.slots.get(participant, {}).get(source)
        assert mid is not None, f"no slot for {source}: {self.slots}"
        assert mid in self.watched, f"mid {mid} has no track"
        return self.watched[mid]

    async def leave(self) -> None:
        """Says so, and ends media."""
        await self.say("leave")
        await self.close()

    async def close(self) -> None:
        """Ends media and the websocket, without a leave."""
        if self.peer is not None:
            await self.peer.close()
        for task in (*self._tasks, *([self._reader] if self._reader else [])):
            task.cancel()
        if self._socket is not None:
            await self._socket.close()
        await self._http.close()

    def _on_track(self, track: MediaStreamTrack) -> None:
        assert self.peer is not None
        mid = str(next(one.mid for one in self.peer.getTransceivers() if one.receiver.track is track))
        self.watched[mid] = Watched()
        self._name_slots()
        task = asyncio.create_task(watch(track, self.watched[mid]))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _name_slots(self) -> None:
        named = {mid: participant for participant, mids in self.slots.items() for mid in mids.values()}
        for mid, watched in self.watched.items():
            watched.under = named.get(mid)

    async def _read(self, websocket: aiohttp.ClientWebSocketResponse) -> None:
        async for message in websocket:
            if message.type is aiohttp.WSMsgType.TEXT:
                self._on_message(json.loads(message.data))

    def _on_message(self, said: dict[str, Any]) -> None:
        self.heard.append(said)
        match said["type"]:
            case "welcome":
                self.welcome = said
            case "waiting" | "identifying" | "held" | "admitted" | "denied" | "removed" | "ended":
                self.state = said["type"]
            case "answer":
                self._answers[said["id"]].set_result(said["sdp"])
            case "error" if said.get("re") in self._answers:
                self._answers[said["re"]].set_exception(AssertionError(f"offer refused: {said}"))
            case "slots":
                slots: dict[str, dict[str, str]] = {}
                for slot in said["slots"]:
                    slots.setdefault(slot["participant"], {})[slot["source"]] = slot["mid"]
                self.slots = slots
                self._name_slots()
            case "participants":
                self.participants = {one["id"]: one["display_name"] for one in said["participants"]}


# aioice has one list of addresses for the process; all of ours are on loopback.
aioice.ice.get_host_addresses = on_loopback
