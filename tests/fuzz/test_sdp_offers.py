"""Whatever stands in an offer, only OfferRefused comes out, soon; and only known lines ever stand in an answer."""

from __future__ import annotations

import re
import time
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from vardrum.sfu import sdp
from vardrum.sfu.sdp_text import MAX_SIZE
from vardrum.sfu.types import OfferRefused, PeerOffer, SlotSsrc

OFFERS = [
    path.read_bytes().decode("ascii") for path in sorted((Path(__file__).parents[1] / "unit/data/sdp").glob("*.sdp"))
]
SMALL, LARGE = min(OFFERS, key=len), max(OFFERS, key=len)

# One line of an answer; nothing else may ever be written, whatever was offered.
ANSWER_LINE = re.compile(
    r"v=0|o=- 1 1 IN IP4 0\.0\.0\.0|s=-|t=0 0|a=ice-lite|a=group:BUNDLE( [A-Za-z0-9._-]{1,16})+|a=msid-semantic: WMS \*"
    r"|a=extmap-allow-mixed|m=(audio|video) 9999 UDP/TLS/RTP/SAVPF( \d{1,3})+|c=IN IP4 192\.0\.2\.1|a=ice-ufrag:serv"
    r"|a=ice-pwd:p{22}|a=fingerprint:sha-256 AB|a=setup:passive|a=candidate:1 1 udp \d+ 192\.0\.2\.1 9999 typ host"
    r"|a=end-of-candidates|a=mid:[A-Za-z0-9._-]{1,16}|a=rtcp-mux|a=rtcp-rsize"
    r"|a=extmap:\d{1,3}(/sendonly|/recvonly|/inactive)? (urn:ietf:params:rtp-hdrext:[a-z:-]+|https?://[!-~]{1,90})"
    r"|a=rtpmap:\d{1,3} (opus/48000/2|red/48000/2|(VP8|H264|VP9|AV1)/90000|rtx/90000)"
    r"|a=rtcp-fb:\d{1,3} (goog-remb|transport-cc|ccm fir|nack|nack pli)"
    r"|a=fmtp:\d{1,3} (apt=\d{1,3}|\d{1,3}/\d{1,3}|minptime=10;useinbandfec=1;usedtx=1;maxaveragebitrate=24000"
    r"|profile-id=0|level-idx=\d{1,2};profile=0;tier=0|level-asymmetry-allowed=1;packetization-mode=[01];profile-level-id=[0-9a-f]{6})"
    r"|a=(recvonly|sendonly|inactive)|a=rid:[lmh] recv|a=simulcast:recv [lmh](;[lmh]){0,2}"
    r"|a=msid:s s-[A-Za-z0-9._-]{1,16}|a=ssrc-group:FID \d+ \d+|a=ssrc:\d+ (cname:c|msid:s s-[A-Za-z0-9._-]{1,16})"
)


def read(text: str) -> PeerOffer | None:
    """The offer, or None where it is refused; anything else that is raised fails the test."""
    try:
        return sdp.read_offer(text)
    except OfferRefused as error:
        refusal = error
    assert refusal.code == "bad-offer"
    assert len(refusal.detail) < 200
    return None


def answer(offer: PeerOffer) -> str:
    mids = [*offer.audio_slots, *offer.video_slots]
    return sdp.write_answer(
        offer,
        ufrag="serv",
        pwd="p" * 22,
        fingerprint=("sha-256", "AB"),
        candidates=[("192.0.2.1", 9999)],
        slots=[SlotSsrc(mid, 1 + n, 100 + n, "s") for n, mid in enumerate(mids)],
        cname="c",
    )


def check(text: str) -> None:
    offer = read(text)
    if offer is None:
        return
    for line in answer(offer).split("\r\n")[:-1]:
        assert ANSWER_LINE.fullmatch(line), line
    read_again = [payload.payload_type for payload in offer.payloads]
    assert len(set(read_again)) == len(read_again)


ODD = [
    *("", "0", "-1", "15", "255", "256", "4294967296", "9" * 600, "*", "l;h", "~l", "send", "apt=96", "apt=apt"),
    *("\r", "\n", "\r\na=ice-lite", "\0", "\u2028", "\x85", "\u0661", "_1_0", "%0d%0a", ":", " ", "/", "=", ";"),
]
tokens = st.one_of(st.sampled_from(ODD), st.text(max_size=12))
changes = st.lists(st.tuples(st.floats(0, 1), st.integers(0, 30), tokens), min_size=1, max_size=8)


@given(st.sampled_from(OFFERS), changes)
@settings(max_examples=300, deadline=None)
def test_mutated_offers(text: str, changes: list[tuple[float, int, str]]) -> None:
    for place, removed, token in changes:
        at = int(place * len(text))
        text = text[:at] + token + text[at + removed :]
    check(text)


@given(st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 10_000), st.integers(0, 2), tokens), max_size=8))
@settings(max_examples=300, deadline=None)
def test_offers_whose_lines_are_moved_doubled_dropped_and_refilled(moves: list[tuple[int, int, int, str]]) -> None:
    lines = SMALL.split("\r\n")
    for a, b, what, token in moves:
        if what == 0:
            lines.insert(b % len(lines), lines[a % len(lines)])
        elif what == 1 and len(lines) > 1:
            del lines[a % len(lines)]
        else:
            at = a % len(lines)
            lines[at] = re.split("[ :/=]", lines[at], maxsplit=1)[0] + ":" + token
    check("\r\n".join(lines))


@given(st.text(max_size=2000))
def test_random_text(text: str) -> None:
    check(text)
    check("v=0\r\n" + text)
    check("v=0\r\n" + "m=audio 9 UDP/TLS/RTP/SAVPF 111\r\n" * 3 + text)


NAMES = [
    *("mid", "rtpmap", "fmtp", "rtcp-fb", "extmap", "ssrc", "ssrc-group", "rid", "simulcast", "ice-ufrag", "ice-pwd"),
    *("fingerprint", "setup", "group", "msid", "candidate", "rtcp", "sctpmap", "max-message-size", "crypto"),
]
attributes = st.sampled_from(NAMES)


@given(
    st.lists(st.tuples(st.integers(0, 8), attributes, st.lists(tokens, max_size=4).map(" ".join)), max_size=20),
)
@settings(max_examples=300, deadline=None)
def test_offers_with_odd_attributes_added(added: list[tuple[int, str, str]]) -> None:
    parts = SMALL.split("m=")
    for section, name, value in added:
        parts[section % len(parts)] += f"a={name}:{value}\r\n"
    check("m=".join(parts))


def filled(line: str) -> str:
    """An otherwise good offer with one section as full of a line as an offer may be large."""
    room = MAX_SIZE - len(SMALL)
    return SMALL + line * (room // len(line))


HEAVY = {
    "ssrc": filled("a=ssrc:1 cname:\r\n"),
    "different ssrcs": SMALL + "".join(f"a=ssrc:{n} cname:\r\n" for n in range(10_000)),
    "rtpmap": SMALL + "".join(f"a=rtpmap:{n} a/1\r\n" for n in range(12_000)),
    "fmtp": filled("a=fmtp:96 a\r\n"),
    "rtcp-fb": filled("a=rtcp-fb:* nack\r\n"),
    "extmap": filled("a=extmap:1 a\r\n"),
    "rid": filled("a=rid:l send\r\n"),
    "m-lines": filled("m=audio 9 UDP/TLS/RTP/SAVPF 111\r\n"),
    "empty lines": filled("\r\n"),
    "one long line": SMALL + "a=" + "x" * (MAX_SIZE - len(SMALL) - 2),
    "spaces": filled(" "),
    "payload types": SMALL.replace(" 111 63", " 111" + " 63" * 60_000, 1),
    "every section full": "m=".join(
        part + "".join(f"a=rtpmap:{n} a/1\r\na=fmtp:{n} x\r\na=rtcp-fb:{n} a\r\n" for n in range(300, 350))
        for part in LARGE.split("m=")
    ),
    "wildcards": "m=".join(
        part + "a=rtcp-fb:* a\r\n" * 8 + "".join(f"a=rtpmap:{n} a/1\r\n" for n in range(300, 325))
        for part in LARGE.split("m=")
    ),
}


@pytest.mark.parametrize("name", HEAVY)
def test_the_largest_offers_cost_little_time_and_memory(name: str) -> None:
    text = HEAVY[name]
    began = time.process_time()
    check(text)
    assert time.process_time() - began < 0.5
    tracemalloc.start()
    try:
        check(text)
        assert tracemalloc.get_traced_memory()[1] < 32 * len(text) + 1_000_000
    finally:
        tracemalloc.stop()
