"""SDP as bots need it: an offer like Chromium's for the contract's m-lines, and what counts in an answer."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

_FEEDBACK = ("goog-remb", "transport-cc", "ccm fir", "nack", "nack pli")
_H264 = "level-asymmetry-allowed=1;packetization-mode={};profile-level-id={}"
# What Chromium 156 offers, in its order: payload type, its RTX, encoding, fmtp.
_VIDEO: tuple[tuple[int, int, str, str], ...] = (
    (96, 97, "VP8/90000", ""),
    (102, 103, "H264/90000", _H264.format(1, "42001f")),
    (104, 107, "H264/90000", _H264.format(0, "42001f")),
    (108, 109, "H264/90000", _H264.format(1, "42e01f")),
    (114, 115, "H264/90000", _H264.format(0, "42e01f")),
    (116, 117, "H264/90000", _H264.format(1, "4d001f")),
    (39, 40, "H264/90000", _H264.format(0, "4d001f")),
    (45, 46, "AV1/90000", "level-idx=5;profile=0;tier=0"),
    (98, 99, "VP9/90000", "profile-id=0"),
    (100, 101, "VP9/90000", "profile-id=2"),
)
VP8, VP8_RTX, OPUS = 96, 97, 111
_HDREXT = "urn:ietf:params:rtp-hdrext:"
_TRANSPORT_CC = "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01"
_SEND_TIME = "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time"
_PLAYOUT_DELAY = "http://www.webrtc.org/experiments/rtp-hdrext/playout-delay"
_SOUND_EXTENSIONS = ((1, f"{_HDREXT}ssrc-audio-level"), (2, _SEND_TIME), (3, _TRANSPORT_CC), (4, f"{_HDREXT}sdes:mid"))
_VIDEO_EXTENSIONS = (
    (2, _SEND_TIME),
    (3, _TRANSPORT_CC),
    (5, _PLAYOUT_DELAY),
    (4, f"{_HDREXT}sdes:mid"),
    (10, f"{_HDREXT}sdes:rtp-stream-id"),
    (11, f"{_HDREXT}sdes:repaired-rtp-stream-id"),
)
# The names by which the native bots know header extensions.
EXTENSION_NAMES: Mapping[str, str] = {
    f"{_HDREXT}sdes:mid": "mid",
    f"{_HDREXT}sdes:rtp-stream-id": "rid",
    f"{_HDREXT}sdes:repaired-rtp-stream-id": "repaired_rid",
    f"{_HDREXT}ssrc-audio-level": "level",
    _TRANSPORT_CC: "transport",
    _SEND_TIME: "send_time",
}


@dataclass(frozen=True)
class Line:
    """One m-line of an offer: `rids` of the layers that are sent, or `ssrcs` (media, RTX) of a lone one."""

    kind: str
    direction: str
    rids: Sequence[str] = ()
    ssrcs: Sequence[int] = ()


@dataclass(frozen=True)
class Credentials:
    """ICE user fragment and password, made as a browser makes them."""

    ufrag: str = field(default_factory=lambda: secrets.token_hex(2))
    pwd: str = field(default_factory=lambda: secrets.token_hex(12))

    def as_dict(self) -> dict[str, str]:
        """As the native bots take them."""
        return {"ufrag": self.ufrag, "pwd": self.pwd}


def write(lines: Sequence[Line], credentials: Credentials, fingerprint: str, *, setup: str = "actpass") -> str:
    """An offer with these m-lines, mids from 0 on."""
    out = [
        "v=0",
        f"o=- {secrets.randbits(62)} 2 IN IP4 127.0.0.1",
        "s=-",
        "t=0 0",
        "a=group:BUNDLE " + " ".join(str(mid) for mid in range(len(lines))),
        "a=extmap-allow-mixed",
        "a=msid-semantic: WMS",
    ]
    for mid, line in enumerate(lines):
        out += _section(mid, line, credentials, fingerprint, setup)
    return "\r\n".join(out) + "\r\n"


def _section(mid: int, line: Line, credentials: Credentials, fingerprint: str, setup: str) -> list[str]:
    sound = line.kind == "audio"
    types = "111 63" if sound else " ".join(f"{media} {rtx}" for media, rtx, _, _ in _VIDEO)
    out = [
        f"m={line.kind} 9 UDP/TLS/RTP/SAVPF {types}",
        "c=IN IP4 0.0.0.0",
        "a=rtcp:9 IN IP4 0.0.0.0",
        f"a=ice-ufrag:{credentials.ufrag}",
        f"a=ice-pwd:{credentials.pwd}",
        "a=ice-options:trickle",
        f"a=fingerprint:sha-256 {fingerprint}",
        f"a=setup:{setup}",
        f"a=mid:{mid}",
        *(f"a=extmap:{number} {uri}" for number, uri in (_SOUND_EXTENSIONS if sound else _VIDEO_EXTENSIONS)),
        f"a={line.direction}",
        *([f"a=msid:- bot-{mid}"] if line.direction == "sendonly" else []),
        "a=rtcp-mux",
        "a=rtcp-rsize",
    ]
    if sound:
        out += ["a=rtpmap:111 opus/48000/2", "a=rtcp-fb:111 transport-cc", "a=fmtp:111 minptime=10;useinbandfec=1"]
        out += ["a=rtpmap:63 red/48000/2", "a=fmtp:63 111/111"]
    else:
        for media, rtx, encoding, fmtp in _VIDEO:
            out.append(f"a=rtpmap:{media} {encoding}")
            out += [f"a=rtcp-fb:{media} {feedback}" for feedback in _FEEDBACK]
            out += [f"a=fmtp:{media} {fmtp}"] if fmtp else []
            out += [f"a=rtpmap:{rtx} rtx/90000", f"a=fmtp:{rtx} apt={media}"]
    if line.rids:
        out += [f"a=rid:{rid} send" for rid in line.rids]
        out.append("a=simulcast:send " + ";".join(line.rids))
    if len(line.ssrcs) > 1:
        out.append("a=ssrc-group:FID " + " ".join(str(ssrc) for ssrc in line.ssrcs))
    for ssrc in line.ssrcs:
        out += [f"a=ssrc:{ssrc} cname:bot", f"a=ssrc:{ssrc} msid:- bot-{mid}"]
    return out


@dataclass
class Described:
    """One m-line of the other side.

    Attributes:
        ssrcs: of the media stream and of its RTX, in this order.
        payloads: payload type to encoding in lower case.
        repairs: payload type of media to that of its RTX.
    """

    kind: str
    mid: str = ""
    direction: str = "sendrecv"
    ssrcs: list[int] = field(default_factory=list)
    payloads: dict[int, str] = field(default_factory=dict)
    repairs: dict[int, int] = field(default_factory=dict)


@dataclass
class Remote:
    """What the other side said.

    Attributes:
        address: of the first UDP candidate, `host:port`.
        extensions: id of each header extension by the name that native bots know it by.
    """

    ufrag: str = ""
    pwd: str = ""
    fingerprint: str = ""
    address: str = ""
    extensions: dict[str, int] = field(default_factory=dict)
    lines: list[Described] = field(default_factory=list)

    @property
    def credentials(self) -> dict[str, str]:
        return {"ufrag": self.ufrag, "pwd": self.pwd}


def read(sdp: str) -> Remote:
    """What counts in an answer, or in an offer of a server.

    Raises:
        ValueError: no candidate, or no fingerprint that is a SHA-256.
    """
    remote = Remote()
    for text in sdp.splitlines():
        name, _, value = text.partition(":")
        line = remote.lines[-1] if remote.lines else Described("")
        first, _, rest = value.partition(" ")
        match name:
            case _ if text.startswith("m="):
                remote.lines.append(Described(text[2:].split(" ")[0]))
            case "a=ice-ufrag":
                remote.ufrag = value
            case "a=ice-pwd":
                remote.pwd = value
            case "a=fingerprint" if first.lower() == "sha-256":
                remote.fingerprint = rest.strip()
            case "a=candidate" if not remote.address:
                parts = value.split(" ")
                host = f"[{parts[4]}]" if ":" in parts[4] else parts[4]
                remote.address = f"{host}:{parts[5]}" if parts[2].lower() == "udp" else ""
            case "a=mid":
                line.mid = value
            case "a=ssrc" if int(first) not in line.ssrcs:
                line.ssrcs.append(int(first))
            case "a=ssrc-group" if first == "FID":
                line.ssrcs = [int(ssrc) for ssrc in rest.split(" ")]
            case "a=rtpmap":
                line.payloads[int(first)] = rest.partition("/")[0].lower()
            case "a=fmtp" if rest.startswith("apt="):
                line.repairs[int(rest[4:])] = int(first)
            case "a=extmap" if rest in EXTENSION_NAMES:
                remote.extensions[EXTENSION_NAMES[rest]] = int(first.partition("/")[0])
            case "a=sendonly" | "a=recvonly" | "a=sendrecv" | "a=inactive":
                line.direction = name[2:]
    if not remote.address or not remote.fingerprint:
        raise ValueError("no UDP candidate, or no SHA-256 fingerprint, in the server's SDP")
    return remote
