"""Writes the answer: only constants, values that `sdp` has checked, and what the server itself chose."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

from .sdp_text import PROFILE
from .types import PeerOffer, Section, SlotSsrc


def write_answer(
    offer: PeerOffer,
    *,
    ufrag: str,
    pwd: str,
    fingerprint: tuple[str, str],
    candidates: Sequence[tuple[str, int]],
    slots: Sequence[SlotSsrc],
    cname: str,
    tcp: bool = False,
    version: int = 1,
) -> str:
    """The answer to `offer` (CONTRACT, "Media").

    Args:
        ufrag, pwd: the server's ICE credentials for this peer.
        fingerprint: hash name and value, of the certificate made at start.
        candidates: (IP address, UDP port), the best first; at least one.
        tcp: whether each of these takes TCP connections too.
        slots: the streams of the slots that exist; offered lines beyond them are answered `inactive`.
        cname: the same for all slots, so that receivers keep a pair's sound and picture together.
        version: grows with each answer of one peer (RFC 8866, section 5.2).

    Raises:
        ValueError: a slot's mid isn't one of the offer's slots, or there is no candidate: a mistake of the caller.
    """
    by_mid = {slot.mid: slot for slot in slots}
    if not by_mid.keys() <= {*offer.audio_slots, *offer.video_slots} or not candidates:
        raise ValueError("slots must be among the offer's, and there must be a candidate")
    transport = [
        f"a=ice-ufrag:{ufrag}",
        f"a=ice-pwd:{pwd}",
        f"a=fingerprint:{fingerprint[0]} {fingerprint[1]}",
        "a=setup:passive",
        *_candidates(candidates, tcp),
        "a=end-of-candidates",
    ]
    lines = [
        "v=0",
        f"o=- 1 {version} IN IP4 0.0.0.0",
        "s=-",
        "t=0 0",
        "a=ice-lite",
        "a=group:BUNDLE " + " ".join(section.mid for section in offer.sections),
        "a=msid-semantic: WMS *",
    ]
    if offer.allow_mixed:
        lines.append("a=extmap-allow-mixed")
    address, port = candidates[0]
    for index, section in enumerate(offer.sections):
        types = " ".join(str(one.payload_type) for one in section.formats)
        lines.append(f"m={section.kind} {port} {PROFILE} {types}")
        lines.append(f"c=IN IP{ipaddress.ip_address(address).version} {address}")
        lines += transport
        lines += _described(section)
        lines += _sent_to_us(section) if index < 3 else _slot(by_mid.get(section.mid), cname)
    return "\r\n".join(lines) + "\r\n"


def _candidates(candidates: Sequence[tuple[str, int]], tcp: bool) -> list[str]:
    # Host candidates: type preference 126, then the order given (RFC 8445, section 5.1.2.1).
    lines = [
        f"a=candidate:{index + 1} 1 udp {126 << 24 | (65_535 - index) << 8 | 255} {address} {port} typ host"
        for index, (address, port) in enumerate(candidates)
    ]
    if tcp:
        # Behind every UDP candidate; direction preference 4 of a passive one (RFC 6544, section 4.2).
        lines += [
            f"a=candidate:{len(candidates) + index + 1} 1 tcp {90 << 24 | (4 << 13 | 8_191 - index) << 8 | 255} "
            f"{address} {port} typ host tcptype passive"
            for index, (address, port) in enumerate(candidates)
        ]
    return lines


def _described(section: Section) -> list[str]:
    lines = [f"a=mid:{section.mid}", "a=rtcp-mux"]
    if section.reduced_size:
        lines.append("a=rtcp-rsize")
    if section.allow_mixed:
        lines.append("a=extmap-allow-mixed")
    lines += [f"a=extmap:{number} {uri}" for number, uri in section.extensions]
    for one in section.formats:
        lines.append(f"a=rtpmap:{one.payload_type} {one.rtpmap}")
        lines += [f"a=rtcp-fb:{one.payload_type} {feedback}" for feedback in one.feedback]
        if one.fmtp:
            lines.append(f"a=fmtp:{one.payload_type} {one.fmtp}")
    return lines


def _sent_to_us(section: Section) -> list[str]:
    lines = ["a=recvonly"]
    if section.rids:
        lines += [f"a=rid:{rid} recv" for rid in section.rids]
        lines.append("a=simulcast:recv " + ";".join(section.rids))
    return lines


def _slot(slot: SlotSsrc | None, cname: str) -> list[str]:
    if slot is None:
        return ["a=inactive"]
    track = f"{slot.msid}-{slot.mid}"
    lines = ["a=sendonly", f"a=msid:{slot.msid} {track}"]
    streams = [slot.ssrc]
    if slot.rtx_ssrc is not None:
        streams.append(slot.rtx_ssrc)
        lines.append(f"a=ssrc-group:FID {slot.ssrc} {slot.rtx_ssrc}")
    # aiortc routes what it receives by these lines; browsers need them for RTX when a slot's mid is no longer sent.
    for ssrc in streams:
        lines.append(f"a=ssrc:{ssrc} cname:{cname}")
        lines.append(f"a=ssrc:{ssrc} msid:{slot.msid} {track}")
    return lines
