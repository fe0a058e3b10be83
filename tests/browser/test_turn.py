"""A hospital's firewall lets TCP to port 443 out, and nothing else: the visit goes there, media by TURN over TLS."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from vardrum.bench.network.namespaces import CLINIC, Network
from vardrum.tests.conftest import Browsers
from vardrum.tests.support.coturn import MEDIA, NAME, RELAY, SECRET, TURN_NAME, Certificates, Coturn
from vardrum.tests.support.front import Front
from vardrum.tests.support.logs import leaks
from vardrum.tests.support.page import Page
from vardrum.tests.support.portal import Portal, create_key
from vardrum.tests.support.server import Server
from vardrum.tests.support.sound import longest_gap, moment, silent, sound_back
from vardrum.tests.support.visit import gather_visit, shown

CHOSEN = """(async () => {
  const all = [...(await window.vardrum.peerConnection.getStats()).values()];
  const of = (id) => all.find((one) => one.id === id) ?? {};
  const chosen = all.filter((one) => one.type === "transport").map((one) => of(one.selectedCandidatePairId));
  return chosen.map((pair) => [of(pair.localCandidateId), of(pair.remoteCandidateId)]).map(([local, remote]) =>
    ({ type: local.candidateType, relay: local.relayProtocol ?? null, to: remote.address }));
})()"""
# The user name of the credential that the browser has, and of the newest that the server said.
USED = "window.vardrum.peerConnection.getConfiguration().iceServers[0].username"
SAID = "recorder.last.admitted.ice_servers[0].username"


async def chosen(page: Page) -> list[dict[str, Any]]:
    """How the page's connection goes now: kind of its own candidate, how it reaches its relay, whom that sends to."""
    return list(await page.evaluate(CHOSEN))


@pytest.mark.timeout(400)
async def test_a_visit_goes_through_a_firewall_that_lets_only_tcp_443_out_and_comes_back_after_it_cut_all(
    tmp_path: Path, browsers: Browsers, network: Network, figure: Callable[[str], None]
) -> None:
    nat = await network.nat(udp=False, only=443)
    certificates = Certificates(tmp_path / "certificates")
    (tmp_path / "turn.secret").write_text(SECRET)
    settings = {
        "VARDRUM_PUBLIC_URL": f"https://{NAME}",
        "VARDRUM_TURN__URLS": f"turn:{TURN_NAME}:3478?transport=udp,turns:{TURN_NAME}:443?transport=tcp",
        "VARDRUM_TURN__SECRET_FILE": str(tmp_path / "turn.secret"),
    }
    where = {MEDIA: CLINIC, RELAY: CLINIC}
    async with (
        Server(tmp_path / "server", host=CLINIC, prefix=network.clinic.prefix, env=settings) as server,
        Coturn(tmp_path / "coturn", network.clinic, certificates, addresses=where, behind_nginx=True),
        Front(tmp_path / "nginx", network.clinic, certificates, server.http),
        Portal(
            server.http, await create_key(server), relay=await network.clinic.relay(CLINIC, server.http_port)
        ) as portal,
    ):
        internet: dict[str, Any] = {"names": {NAME: CLINIC, TURN_NAME: CLINIC}, "key": certificates.fingerprint}
        host = await browsers.chromium("Dr Asp", prefix=network.clinic.prefix, **internet)
        phone = await browsers.chromium("Pia Patient", prefix=network.phone.prefix, voice="sv", **internet)
        doctor, patient = await gather_visit(portal, host, phone)
        took = (await phone.evaluate("recorder.firstFrameAt - recorder.offeredAt")) / 1000
        figure(f"only TCP 443: first picture {took:.2f} s after the offer, by TURN over TLS")
        assert await chosen(phone) == [{"type": "relay", "relay": "tls", "to": CLINIC}]
        (direct,) = await chosen(host)
        assert direct["type"] != "relay"
        assert nat.mapped("udp") == 0
        first = await phone.evaluate(SAID)
        assert await phone.evaluate(USED) == first
        connections = await phone.evaluate("recorder.connections.length")

        # The firewall restarts: what was open leads nowhere. The page comes back with a credential that is good anew.
        heard = [(await shown(page))[one.id]["microphone"]["mid"] for page, one in ((host, patient), (phone, doctor))]
        began = [await moment(page) for page in (host, phone)]
        nat.forget_connections()
        await asyncio.gather(*(silent(page, for_ms=500, deadline=30) for page in (host, phone)))
        quiet = [await moment(page) for page in (host, phone)]
        await asyncio.gather(
            *(sound_back(page, at, voices=1, deadline=60) for page, at in zip((host, phone), quiet, strict=True))
        )
        gaps = [await longest_gap(*one) for one in zip((host, phone), heard, began, strict=True)]
        figure(f"only TCP 443, the firewall forgets all connections: {max(gaps):.1f} s without sound")
        assert await chosen(phone) == [{"type": "relay", "relay": "tls", "to": CLINIC}]
        newest = await phone.evaluate(SAID)
        assert newest != first
        assert await phone.evaluate(USED) == newest
        assert await phone.evaluate("recorder.connections.length") == connections, "a restart is enough"
        assert max(gaps) < 30
        assert leaks(server.process.output(10_000_000), portal.told | {SECRET, newest}) == []


# A call, and another connection of the same page that answers it. `ufrag` changes when ICE restarts (RFC 8839, 5.4).
CALL = """import('/static/js/call.js').then(async ({ Call }) => {
  const send = { microphone: { max_bitrate: 24000 }, camera: {}, screen: {} };
  const call = new Call({ slots: { audio: 1, video: 1 }, send });
  const other = new RTCPeerConnection();
  const ufrag = () => /a=ice-ufrag:(\\S+)/.exec(call.peerConnection.localDescription.sdp)[1];
  const users = () => call.peerConnection.getConfiguration().iceServers.map((one) => one.username);
  const by = (username, urls = ["turn:127.0.0.1:3478"]) => [{ urls, username, credential: "x" }];
  const round = async (restart) => {
    const offer = await call.offer(restart);
    await other.setRemoteDescription({ type: "offer", sdp: offer.sdp });
    await other.setLocalDescription();
    await call.accept(offer.id, other.localDescription.sdp);
    return [ufrag(), ...users()];
  };
  call.prepare();
  call.iceServers = by("first");
  const begun = await round(false);
  call.iceServers = by("second");
  await call.apply({ microphone: { ptime: 60 } });
  const edited = [ufrag(), ...users(), call.peerConnection.remoteDescription.sdp.includes("a=ptime:60")];
  const restarted = await round(true);
  call.iceServers = by("third", ["turn:127.0.0.1:3478?transport=pigeon"]);
  const odd = await round(true);
  call.close();
  other.close();
  return { begun, edited, restarted, odd };
})"""


async def test_a_call_takes_new_credentials_with_its_next_offer_and_restarts_ice_for_nothing_else(
    modules: Page,
) -> None:
    found = await modules.evaluate(CALL)
    begun, edited, restarted, odd = (found[key] for key in ("begun", "edited", "restarted", "odd"))
    assert begun[1:] == ["first"], "an offer that was made before it was wanted has them too"
    # The answer is set again with another ptime, and of that the server hears nothing.
    assert edited == [begun[0], "first", True]
    assert restarted[0] != begun[0]
    assert restarted[1:] == ["second"]
    # Addresses that a browser doesn't take are no reason to have no visit.
    assert odd[0] not in (begun[0], restarted[0])
    assert odd[1:] == ["second"]
