"""A visit on the clean machine, by the server's own Python: a host is vouched for, a patient waits, comes in, is heard.

All of it over the certificate that the operator has put there, with media to the address that phones are told.
"""

from __future__ import annotations

import asyncio
import base64
import json
import sys
from pathlib import Path
from typing import Any

from aiohttp import ClientSession, ClientWebSocketResponse
from aiortc import RTCBundlePolicy, RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import AudioStreamTrack, MediaStreamTrack

BASE = "https://video.region.example"


async def call(client: ClientSession, method: str, path: str, body: Any = None) -> tuple[int, Any]:
    """Status and JSON of an answer."""
    async with client.request(method, BASE + path, json=body) as answer:
        return answer.status, await answer.json(content_type=None)


class Page:
    """Somebody who has come, by a link or since the portal vouches for them."""

    def __init__(self, socket: ClientWebSocketResponse) -> None:
        self._socket = socket
        self._peer = RTCPeerConnection(RTCConfiguration(iceServers=[], bundlePolicy=RTCBundlePolicy.MAX_BUNDLE))
        self._heard: asyncio.Queue[MediaStreamTrack] = asyncio.Queue()
        self._slots = 0

    @classmethod
    async def come(cls, client: ClientSession, secret: dict[str, str]) -> Page:
        status, session = await call(client, "POST", "/v1/sessions", secret)
        assert status == 201, session
        # The browser's own origin, as on a page.
        page = cls(await client.ws_connect(f"{BASE}/v1/ws", headers={"Origin": BASE}, max_msg_size=1 << 20))
        await page._socket.send_json({"type": "hello", "token": session["token"], "device": {}})
        page._slots = (await page.until("welcome"))["slots"]["audio"]
        return page

    async def until(self, kind: str) -> Any:
        """The next message of this kind."""
        async with asyncio.timeout(30):
            while (said := await self._socket.receive_json())["type"] != kind:
                pass
        return said

    async def join(self) -> None:
        """Sends sound, and takes everyone's."""
        peer = self._peer
        peer.on("track", self._heard.put_nowait)
        peer.addTransceiver(AudioStreamTrack(), direction="sendonly")
        for _ in range(2):  # camera and screen, neither of them on
            peer.addTransceiver("video", direction="sendonly")
        for _ in range(self._slots):
            peer.addTransceiver("audio", direction="recvonly")
        await peer.setLocalDescription(await peer.createOffer())
        sdp = peer.localDescription.sdp
        await self._socket.send_json({"type": "offer", "id": 1, "sdp": sdp, "restart": False})
        answer = await self.until("answer")
        await peer.setRemoteDescription(RTCSessionDescription(sdp=answer["sdp"], type="answer"))

    async def hears(self) -> None:
        """Until somebody's sound has come."""
        tracks = [self._heard.get_nowait() for _ in range(self._heard.qsize())]
        assert tracks
        came = [asyncio.ensure_future(track.recv()) for track in tracks]
        done, rest = await asyncio.wait(came, timeout=30, return_when=asyncio.FIRST_COMPLETED)
        for one in rest:
            one.cancel()
        assert done, "no sound has come"

    async def leave(self) -> None:
        await self._socket.send_json({"type": "leave"})
        await self._peer.close()
        await self._socket.close()


async def visit(client: ClientSession, room: dict[str, Any]) -> None:
    people = {one["role"]: one for one in room["participants"]}
    path = f"/v1/rooms/{room['id']}/participants"
    status, vouched = await call(client, "POST", f"{path}/{people['caregiver']['id']}/sessions", {})
    assert status == 201, vouched
    async with ClientSession() as pages:
        host = await Page.come(pages, {"embed_token": vouched["embed_token"]})
        await host.until("admitted")
        patient = await Page.come(pages, {"invite": people["patient"]["join_url"].partition("#")[2]})
        await patient.until("waiting")
        status, said = await call(client, "POST", f"{path}/{people['patient']['id']}/admit", {})
        assert status == 200, said
        await patient.until("admitted")
        await asyncio.gather(host.join(), patient.join())
        await asyncio.gather(host.hears(), patient.hears())
        await asyncio.gather(host.leave(), patient.leave())


async def main(expected: str, file: str) -> None:
    """`visit` or `gone`, and the answer to a booking."""
    room = json.loads(Path(file).read_text())
    actor = base64.urlsafe_b64encode(json.dumps({"id": "sara", "name": "Sara", "care_unit": "Trial"}).encode()).decode()
    key = Path("portal.key").read_text().strip()
    headers = {"Authorization": f"Bearer {key}", "Vardrum-Actor": actor.rstrip("=")}
    async with ClientSession(headers=headers) as client:
        if expected == "gone":
            assert (await call(client, "GET", f"/v1/rooms/{room['id']}"))[0] == 404
        else:
            await visit(client, room)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
