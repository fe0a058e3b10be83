"""Offers of real clients are read and answered to the letter of the contract; what breaks it is refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from aiortc.sdp import SessionDescription
from vardrum.codecs import catalogue
from vardrum.sfu import sdp
from vardrum.sfu.types import OfferedTrack, OfferRefused, Payload, PeerOffer, SlotSsrc

OFFERS = Path(__file__).parent / "data" / "sdp"
CLIENTS = sorted(path.stem.removeprefix("offer-") for path in OFFERS.glob("offer-*.sdp"))


def offer(client: str) -> str:
    """An offer as a real client made it."""
    return (OFFERS / f"offer-{client}.sdp").read_bytes().decode("ascii")


def slots(read: PeerOffer) -> list[SlotSsrc]:
    """Streams for every slot that was offered: pairs share a stream id, the last picture is the screen's."""
    audio = [SlotSsrc(mid, 1000 + i, None, f"pair-{i}") for i, mid in enumerate(read.audio_slots)]
    ids = [f"pair-{i}" for i in range(len(audio))] + ["screen"]
    video = [SlotSsrc(mid, 2000 + i, 3000 + i, ids[i]) for i, mid in enumerate(read.video_slots)]
    return audio + video


def answer(read: PeerOffer, **changes: object) -> str:
    """The server's answer, with fixed credentials."""
    arguments: dict[str, object] = {
        "ufrag": "Serv",
        "pwd": "p" * 24,
        "fingerprint": ("sha-256", ":".join(["AB"] * 32)),
        "candidates": [("192.0.2.10", 40_000)],
        "slots": slots(read),
        "cname": "vardrum",
    }
    return sdp.write_answer(read, **{**arguments, **changes})  # type: ignore[arg-type]


def sections(text: str) -> list[list[str]]:
    """The lines of each m-line's section."""
    found: list[list[str]] = []
    for line in text.split("\r\n"):
        if line.startswith("m="):
            found.append([])
        if found:
            found[-1].append(line)
    return found


def test_chromium_with_layers_is_read() -> None:
    read = sdp.read_offer(offer("chromium"))
    assert (len(read.ufrag), len(read.pwd)) == (4, 24)
    assert [name for name, _ in read.fingerprints] == ["sha-256"]
    assert (read.microphone.mid, read.camera.mid, read.screen.mid) == ("0", "1", "2")
    assert read.camera == OfferedTrack("1", ("l", "h"), ())
    assert read.screen.rids == ("l", "h")
    assert read.audio_slots == tuple(str(mid) for mid in range(3, 10))
    assert read.video_slots == tuple(str(mid) for mid in range(10, 18))
    assert read.payloads[:4] == (
        Payload(111, "opus"),
        Payload(63, "red"),
        Payload(96, "vp8"),
        Payload(102, "h264-1"),
    )
    assert Payload(97, "rtx", 96) in read.payloads
    assert read.extensions[catalogue.EXTENSION_MID] == 4
    assert set(read.extensions) <= catalogue.EXTENSIONS


def test_a_client_without_rids_sends_one_encoding_with_its_ssrcs() -> None:
    read = sdp.read_offer(offer("chromium-plain"))
    assert read.camera.rids == ()
    assert [len(pair) for pair in read.camera.ssrcs] == [2]
    assert all(rtx for _, rtx in read.camera.ssrcs)


def test_firefox_declares_ssrcs_beside_its_rids_and_offers_no_red() -> None:
    read = sdp.read_offer(offer("firefox-small"))
    assert read.camera.rids == ("l", "h")
    assert len(read.camera.ssrcs) == 2
    assert [payload.codec for payload in read.payloads] == ["opus", "vp8", "vp9", "av1", "rtx", "rtx", "rtx"]


@pytest.mark.parametrize("client", CLIENTS)
def test_the_answer_has_what_the_contract_says(client: str) -> None:
    text = offer(client)
    read = sdp.read_offer(text)
    written = answer(read)
    assert written.endswith("\r\n")
    assert "\n" not in written.replace("\r\n", "")
    head = written.split("m=")[0]
    assert "a=ice-lite\r\n" in head
    assert f"a=group:BUNDLE {' '.join(section.mid for section in read.sections)}\r\n" in head
    assert ("a=extmap-allow-mixed" in head) == ("a=extmap-allow-mixed" in text.split("m=")[0])
    offered = sections(text)
    for index, (ours, theirs) in enumerate(zip(sections(written), offered, strict=True)):
        assert ours[0].split()[0] == theirs[0].split()[0]
        assert ours[0].split()[1:3] == ["40000", "UDP/TLS/RTP/SAVPF"]
        assert "a=setup:passive" in ours
        assert "a=rtcp-mux" in ours
        assert "a=candidate:1 1 udp 2130706431 192.0.2.10 40000 typ host" in ours
        assert "a=end-of-candidates" in ours
        assert "a=ice-ufrag:Serv" in ours
        assert ("a=recvonly" if index < 3 else "a=sendonly") in ours
        for flag in ("a=rtcp-rsize", "a=extmap-allow-mixed"):
            assert (flag in ours) == (flag in theirs)
        # Nothing that wasn't offered: payload types with their mapping, extensions with their ids.
        assert set(ours[0].split()[3:]) <= set(theirs[0].split()[3:])
        for line in ours:
            if line.startswith("a=rtpmap:"):
                assert line.lower() in [one.lower() for one in theirs]
            if line.startswith("a=extmap:"):
                number, uri = line.split(" ")[0].split("/")[0], line.split(" ")[1]
                assert any(one.split("/")[0].split(" ")[0] == number and one.split(" ")[1] == uri for one in theirs)
        joined = "\n".join(ours)
        for absent in ("ulpfec", "flexfec", "red/90000", "profile-id=2", "profile=1", "video-orientation", "toffset"):
            assert absent not in joined


@pytest.mark.parametrize("client", CLIENTS)
def test_aiortcs_own_parser_reads_the_answer(client: str) -> None:
    read = sdp.read_offer(offer(client))
    parsed = SessionDescription.parse(answer(read))
    assert [media.rtp.muxId for media in parsed.media] == [section.mid for section in read.sections]
    assert all(media.ice is not None and media.ice.iceLite for media in parsed.media)
    assert [media.ssrc[0].ssrc for media in parsed.media[3:]] == [slot.ssrc for slot in slots(read)]


def test_sound_is_answered_with_fec_dtx_and_nack_and_red_comes_second() -> None:
    microphone = sections(answer(sdp.read_offer(offer("chromium-small"))))[0]
    assert microphone[0].split()[3:] == ["111", "63"]
    assert "a=fmtp:111 minptime=10;useinbandfec=1;usedtx=1;maxaveragebitrate=24000" in microphone
    assert "a=rtcp-fb:111 nack" in microphone
    assert "a=rtcp-fb:111 transport-cc" in microphone
    assert "a=fmtp:63 111/111" in microphone


def test_layers_are_answered_as_offered_and_only_there() -> None:
    written = sections(answer(sdp.read_offer(offer("chromium-small"))))
    for section in written[1:3]:
        at = section.index("a=rid:l recv")
        assert section[at : at + 3] == ["a=rid:l recv", "a=rid:h recv", "a=simulcast:recv l;h"]
    assert not any(line.startswith(("a=rid", "a=simulcast")) for index in (0, 3, 5) for line in written[index])
    plain = answer(sdp.read_offer(offer("chromium-plain")))
    assert "a=rid:" not in plain
    assert "a=simulcast" not in plain


def test_an_extension_that_firefox_only_sends_is_answered_as_received() -> None:
    camera = sections(answer(sdp.read_offer(offer("firefox-small"))))[1]
    assert any(line.startswith("a=extmap:9/recvonly ") for line in camera)
    assert not any("playout-delay" in line for line in camera), "offered only for receiving, in a line that only sends"


def test_vp9_and_av1_are_answered_behind_what_everyone_has_in_their_main_profiles() -> None:
    read = sdp.read_offer(offer("chromium-small"))
    camera = sections(answer(read))[1]
    names = [line.split(" ")[1] for line in camera if line.startswith("a=rtpmap:") and "rtx" not in line]
    assert list(dict.fromkeys(names)) == ["VP8/90000", "H264/90000", "VP9/90000", "AV1/90000"]
    assert "a=fmtp:98 profile-id=0" in camera
    assert "a=fmtp:45 level-idx=5;profile=0;tier=0" in camera
    assert [one.codec for one in read.payloads if one.codec in ("vp9", "av1")] == ["vp9", "av1"]
    assert catalogue.EXTENSION_DEPENDENCY_DESCRIPTOR in read.extensions


def test_a_pair_shares_its_stream_and_pictures_have_rtx() -> None:
    read = sdp.read_offer(offer("chromium-small"))
    written = sections(answer(read))
    assert [line for line in written[3] if line.startswith("a=msid:")] == ["a=msid:pair-0 pair-0-3"]
    picture = written[5]
    assert "a=msid:pair-0 pair-0-5" in picture
    assert "a=ssrc-group:FID 2000 3000" in picture
    assert "a=ssrc:2000 cname:vardrum" in picture
    assert "a=ssrc:3000 cname:vardrum" in picture
    assert "a=msid:screen screen-7" in written[7]


def test_more_slots_than_people_are_inactive_and_fewer_are_fine() -> None:
    read = sdp.read_offer(offer("chromium-small"))
    written = sections(answer(read, slots=[SlotSsrc("3", 7, None, "a"), SlotSsrc("5", 8, 9, "a")]))
    directions = [next(line for line in section if line in ("a=sendonly", "a=inactive")) for section in written[3:]]
    assert directions == ["a=sendonly", "a=inactive", "a=sendonly", "a=inactive", "a=inactive"]
    assert not any(line.startswith("a=ssrc") for line in written[4])


def test_an_ipv6_candidate_and_several_are_written() -> None:
    read = sdp.read_offer(offer("chromium-small"))
    written = answer(read, candidates=[("2001:db8::1", 40_000), ("192.0.2.10", 40_001)])
    assert "c=IN IP6 2001:db8::1\r\n" in written
    first, second = (line.split() for line in sections(written)[0] if line.startswith("a=candidate"))
    assert int(first[3]) > int(second[3])
    assert second[4:6] == ["192.0.2.10", "40001"]


def test_tcp_candidates_stand_behind_those_of_udp() -> None:
    """RFC 6544: passive, on the same port, of lower priority than any UDP candidate."""
    read = sdp.read_offer(offer("chromium-small"))
    written = answer(read, candidates=[("2001:db8::1", 40_000), ("192.0.2.10", 40_000)], tcp=True)
    found = [line.split() for line in sections(written)[0] if line.startswith("a=candidate")]
    assert [one[2] for one in found] == ["udp", "udp", "tcp", "tcp"]
    assert sorted((int(one[3]) for one in found), reverse=True) == [int(one[3]) for one in found]
    assert len({one[0] for one in found}) == 4, "foundations differ"
    assert found[2][4:] == ["2001:db8::1", "40000", "typ", "host", "tcptype", "passive"]


def test_slots_of_another_offer_are_a_programming_error() -> None:
    read = sdp.read_offer(offer("chromium-small"))
    with pytest.raises(ValueError, match="among the offer's"):
        answer(read, slots=[SlotSsrc("0", 7, None, "a")])
    with pytest.raises(ValueError, match="a candidate"):
        answer(read, candidates=[])


def first(text: str, old: str, new: str) -> str:
    """The text with the first `old` replaced; it must be there."""
    assert old in text
    return text.replace(old, new, 1)


def in_section(number: int, old: str, new: str) -> Callable[[str], str]:
    """A change in one m-line's section."""

    def change(text: str) -> str:
        parts = text.split("m=")
        parts[number + 1] = first(parts[number + 1], old, new)
        return "m=".join(parts)

    return change


def everywhere(old: str, new: str) -> Callable[[str], str]:
    return lambda text: text.replace(old, new)


def without(number: int) -> Callable[[str], str]:
    """Without one m-line, and without its mid in the bundle."""

    def change(text: str) -> str:
        parts = text.split("m=")
        del parts[number + 1]
        return "m=".join(parts).replace(f" {number} ", " ", 1)

    return change


def swapped(a: int, b: int) -> Callable[[str], str]:
    def change(text: str) -> str:
        parts = text.split("m=")
        parts[a + 1], parts[b + 1] = parts[b + 1], parts[a + 1]
        return "m=".join(parts)

    return change


REFUSALS: dict[str, tuple[Callable[[str], str], str]] = {
    "nothing": (lambda _: "", "v=0"),
    "not SDP": (lambda _: '{"type": "offer"}', "v=0"),
    "too large": (lambda text: text + "a=x\r\n" * 60_000, "at most 262144 bytes"),
    "not a whole line": (everywhere("s=-", "s"), "<letter>=<value>"),
    "a line too long": (everywhere("s=-", "s=" + "x" * 2000), "1000 characters"),
    "a NUL": (everywhere("s=-", "s=\0"), "printable ASCII"),
    "a lone carriage return": (everywhere("a=mid:0", "a=mid:0\ra=x"), "printable ASCII"),
    "a Unicode line end": (everywhere("a=mid:0", "a=mid:0\u2028a=x"), "printable ASCII"),
    "Unicode digits": (everywhere("a=mid:0", "a=mid:\u0660"), "printable ASCII"),
    "too many lines": (in_section(0, "a=rtcp-mux", "a=rtcp-mux" + "\r\na=x:y" * 500), "400 lines"),
    "too many m-lines": (lambda text: text + "m=audio 9 UDP/TLS/RTP/SAVPF 111\r\n" * 100, "3 to 40 m-lines"),
    "no m-line": (lambda text: text.split("m=")[0], "3 to 40 m-lines"),
    "no BUNDLE": (everywhere("a=group:BUNDLE", "a=group:LS"), "a=group:BUNDLE"),
    "BUNDLE without a mid": (everywhere("BUNDLE 0 1 2", "BUNDLE 0 1"), "a=group:BUNDLE"),
    "two BUNDLEs": (everywhere("a=group:", "a=group:BUNDLE 0\r\na=group:"), "a=group:BUNDLE"),
    "no mid": (in_section(1, "a=mid:1\r\n", ""), "a=mid"),
    "the same mid twice": (in_section(1, "a=mid:1", "a=mid:0"), "a=mid"),
    "a mid too long": (everywhere("a=mid:0", "a=mid:" + "0" * 17), "at most 16"),
    "a mid with a space": (everywhere("a=mid:0", "a=mid:0 0"), "a=mid"),
    "picture before sound": (swapped(0, 1), "first three m-lines"),
    "no screen": (without(2), "first three m-lines"),
    "a data channel": (everywhere("m=video 9", "m=application 9"), "only m=audio and m=video"),
    "no SAVPF": (everywhere("UDP/TLS/RTP/SAVPF", "RTP/AVP"), "UDP/TLS/RTP/SAVPF"),
    "a microphone that receives": (in_section(0, "a=sendonly", "a=sendrecv"), "a=sendonly"),
    "a slot that sends": (in_section(3, "a=recvonly", "a=sendrecv"), "a=recvonly"),
    "video slots first": (swapped(4, 5), "all audio slots before"),
    "no rtcp-mux": (in_section(3, "a=rtcp-mux\r\n", ""), "a=rtcp-mux"),
    "ICE-lite": (everywhere("s=-\r\n", "s=-\r\na=ice-lite\r\n"), "full ICE agent"),
    "no ufrag": (in_section(0, "a=ice-ufrag:", "a=x:"), "a=ice-ufrag"),
    "a short pwd": (in_section(0, "a=ice-pwd:", "a=ice-pwd:short\r\na=x:"), "a=ice-pwd"),
    "a ufrag with a colon": (everywhere("a=ice-ufrag:", "a=ice-ufrag:a:b:c:"), "a=ice-ufrag"),
    "another ufrag in a later m-line": (in_section(4, "a=ice-ufrag:", "a=ice-ufrag:x"), "same ICE credentials"),
    "no fingerprint": (everywhere("a=fingerprint:", "a=x:"), "a=fingerprint"),
    "only an old hash": (everywhere("a=fingerprint:sha-256", "a=fingerprint:sha-1"), "sha-256"),
    "a fingerprint cut short": (
        in_section(0, "a=fingerprint:sha-256 ", "a=fingerprint:sha-256 AB:CD\r\na=x:"),
        "RFC 8122",
    ),
    "another fingerprint later": (
        in_section(3, "a=fingerprint:sha-256 ", f"a=fingerprint:sha-256 {':'.join(['00'] * 32)}\r\na=x:"),
        "same fingerprints",
    ),
    "setup:passive": (everywhere("a=setup:actpass", "a=setup:passive"), "server is passive"),
    "setup:holdconn": (everywhere("a=setup:actpass", "a=setup:holdconn"), "RFC 8866"),
    "no setup": (everywhere("a=setup:actpass\r\n", ""), "a=setup"),
    "no Opus": (in_section(0, "a=rtpmap:111 opus/48000/2", "a=rtpmap:111 speex/16000"), "RFC 8843|opus/48000/2"),
    "no video codec that we know": (
        in_section(1, "a=rtpmap:96 VP8/90000", "a=rtpmap:96 VP10/90000"),
        "mean the same",
    ),
    "a payload type with two meanings": (in_section(3, "a=rtpmap:9 G722/8000", "a=rtpmap:9 L16/8000"), "mean the same"),
    "a payload type mapped twice": (
        in_section(0, "a=rtpmap:0 PCMU/8000", "a=rtpmap:111 opus/48000/2"),
        "one a=rtpmap",
    ),
    "a payload type listed twice": (in_section(0, " 111 63", " 111 111 63"), "once in an m-line"),
    "a payload type of 200": (in_section(0, " 111 63", " 111 63 200"), "payload types of 0 to 63"),
    "an RTX that repairs two": (in_section(2, "a=fmtp:97 apt=96", "a=fmtp:97 apt=102"), "mean the same"),
    "an extension id of 0": (in_section(0, "a=extmap:4 ", "a=extmap:0 "), "id of 1 to"),
    "an extension id of 15": (in_section(0, "a=extmap:4 ", "a=extmap:15 "), "not 15"),
    "an extension id of 256": (in_section(0, "a=extmap:4 ", "a=extmap:256 "), "id of 1 to"),
    "an extension with two ids": (in_section(3, "a=extmap:4 ", "a=extmap:5 "), "same id"),
    "two extensions with one id": (in_section(0, "a=extmap:4 ", "a=extmap:3 "), "same id"),
    "an extension without URI": (
        in_section(0, "a=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid", "a=extmap:4"),
        "extmap",
    ),
    "a rid that isn't ours": (in_section(1, "a=rid:l send\r\n", "a=rid:q send\r\n"), "rids of welcome.send"),
    "rids from high to low": (in_section(1, "a=simulcast:send l;h", "a=simulcast:send h;l"), "rids of welcome.send"),
    "a rid that receives": (in_section(1, "a=rid:l send", "a=rid:l recv"), "rids of welcome.send"),
    "simulcast without rids": (in_section(1, "a=rid:l send\r\na=rid:h send\r\n", ""), "rids of welcome.send"),
    "an SSRC of 33 bits": (in_section(0, "a=ssrc:1825811372 cname", "a=ssrc:8589934592 cname"), "32 bits"),
    "an SSRC in two m-lines": (
        in_section(1, "a=rtcp-mux", "a=rtcp-mux\r\na=ssrc:1825811372 cname:x"),
        "none of them in two",
    ),
    "a hundred SSRCs": (
        in_section(1, "a=rtcp-mux", "a=rtcp-mux" + "".join(f"\r\na=ssrc:{n} cname:x" for n in range(1, 101))),
        "at most 12 SSRCs",
    ),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_an_offer_that_breaks_the_contract_is_refused_with_what_was_expected(name: str) -> None:
    change, expected = REFUSALS[name]
    with pytest.raises(OfferRefused, match=expected) as refusal:
        sdp.read_offer(change(offer("chromium-small")))
    assert refusal.value.code == "bad-offer"
    assert len(refusal.value.detail) < 200


def test_a_payload_type_that_looks_like_rtcp_is_refused() -> None:
    with pytest.raises(OfferRefused, match="0 to 63 and 96 to 127"):
        sdp.read_offer(offer("chromium-small").replace("9 UDP/TLS/RTP/SAVPF 111 63", "9 UDP/TLS/RTP/SAVPF 111 63 71"))


def test_more_slots_than_a_room_can_have_are_refused() -> None:
    with pytest.raises(OfferRefused, match="at most 3 audio slots and 4 video slots"):
        sdp.read_offer(offer("chromium"), max_slots=3)
    assert len(sdp.read_offer(offer("chromium"), max_slots=7).audio_slots) == 7


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (
            "a=extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level",
            "a=extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level vad=on",
        ),
        ("a=rtcp-mux", "a=candidate:nonsense\r\na=rtcp-mux"),
        ("a=fmtp:111 minptime=10;useinbandfec=1", "a=fmtp:111 minptime=10; useinbandfec=1; stereo=0"),
        ("profile-level-id=42001f", "profile-level-id=42001F"),
        ("m=video 9", "m=video 0"),
        ("a=rtcp-mux", "b=AS:2000\r\ni=a title\r\na=rtcp-mux"),
        ("\r\n", "\n"),
    ],
    ids=["extmap attributes", "odd candidate", "spaces", "capitals", "bundle-only", "other lines", "bare LF"],
)
def test_what_the_contract_does_not_forbid_is_accepted(old: str, new: str) -> None:
    text = offer("chromium-small")
    assert old in text
    assert sdp.read_offer(text.replace(old, new)).payloads == sdp.read_offer(text).payloads


def test_h264_is_answered_only_as_baseline_and_by_packetization_mode() -> None:
    read = sdp.read_offer(offer("chromium-small"))
    modes = {payload.payload_type: payload.codec for payload in read.payloads if payload.codec.startswith("h264")}
    assert modes == {102: "h264-1", 108: "h264-1", 104: "h264-0", 114: "h264-0"}
    camera = sections(answer(read))[1]
    assert "a=fmtp:108 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f" in camera
    assert not any("4d001f" in line for line in camera)


def test_an_ice_restart_changes_only_the_credentials() -> None:
    text = offer("chromium-small")
    former = sdp.read_offer(text)
    restarted = text.replace(former.ufrag, "New1").replace(former.pwd, "n" * 24)
    assert sdp.read_restart(restarted, former) == replace(former, ufrag="New1", pwd="n" * 24)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (everywhere("no such text", ""), "new ICE credentials"),
        (everywhere("a=fingerprint:sha-256 3A", "a=fingerprint:sha-256 3B"), "former fingerprints"),
        (everywhere("a=rtpmap:96 VP8/90000", "a=rtpmap:96 H265/90000"), "payload types|VP8"),
        (in_section(1, "a=rid:l send\r\na=rid:h send\r\na=simulcast:send l;h\r\n", ""), "rids of the peer"),
        (everywhere("a=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid\r\n", ""), "header extensions"),
        (lambda text: "m=".join(text.split("m=")[:-1]).replace(" 7\r\n", "\r\n", 1), "as many m-lines"),
    ],
    ids=["nothing", "fingerprint", "payload types", "rids", "extensions", "m-lines"],
)
def test_an_ice_restart_that_changes_more_is_refused(change: Callable[[str], str], expected: str) -> None:
    text = offer("chromium-small")
    former = sdp.read_offer(text)
    changed = change(text)
    if expected != "new ICE credentials":
        changed = changed.replace(former.ufrag, "New1").replace(former.pwd, "n" * 24)
    with pytest.raises(OfferRefused, match=expected):
        sdp.read_restart(changed, former)
