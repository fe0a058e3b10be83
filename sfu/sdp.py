"""Offer to answer: whatever breaks the contract's "Media" is refused, the rest becomes a PeerOffer.

aiortc's parser reads what it keeps; rid, simulcast, extension directions, rtcp-rsize and extmap-allow-mixed, which it
loses, are read from the section's text. Its own exceptions (AssertionError, StopIteration, KeyError and more) never
leave this file: OfferRefused is the only one. The answer is written by `sdp_answer`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Literal

from aiortc.rtcrtpparameters import RTCRtpCodecParameters
from aiortc.sdp import MediaDescription, SessionDescription

from ..codecs import catalogue
from .sdp_answer import write_answer
from .sdp_text import PROFILE, Text, attribute, refused, split
from .types import Format, OfferedTrack, Payload, PeerOffer, Section

__all__ = ["MAX_SLOTS", "read_offer", "read_restart", "write_answer"]

MAX_SLOTS = 16  # of sound; one more of pictures, for the screen
MAX_FINGERPRINTS = 8
MAX_SSRCS = 12  # of one m-line: three layers with RTX, twice
RIDS = ((), ("l",), ("l", "h"), ("l", "m", "h"))

_MID = re.compile(r"[A-Za-z0-9._-]{1,16}\Z")  # at most what a one-byte header extension carries (RFC 8285)
_UFRAG = re.compile(r"[A-Za-z0-9+/]{4,256}\Z")  # RFC 8839, section 5.4
_PWD = re.compile(r"[A-Za-z0-9+/]{22,256}\Z")
_EXTMAP = re.compile(r"([0-9]{1,5})(?:/(sendonly|recvonly|sendrecv|inactive))? ([!-~]{1,200})(?: .*)?\Z")
_RID = re.compile(r"([A-Za-z0-9]{1,16}) send(?: .*)?\Z")
_DIGEST_BYTES = {"sha-256": 32, "sha-384": 48, "sha-512": 64}
_FINGERPRINT = re.compile(r"[0-9A-F]{2}(?::[0-9A-F]{2})*\Z")
_MIRRORED = {"sendonly": "/recvonly", "recvonly": "/sendonly", "sendrecv": "", "inactive": "/inactive", None: ""}

# A payload type's meaning, comparable over m-lines.
Meaning = tuple[str, str, int, int | None, str]


def read_offer(sdp: str, max_slots: int = MAX_SLOTS) -> PeerOffer:
    """Reads the offer of a new peer.

    Args:
        max_slots: how many slots of sound may be offered at most; of pictures, one more.

    Raises:
        OfferRefused: code `bad-offer`, for everything that is malformed, hostile or not as the contract has it.
    """
    text = split(sdp)
    try:
        session = SessionDescription.parse(text.for_parser())
    except Exception:  # hostile text makes aiortc raise almost anything; nothing of it tells the client more
        raise refused("expected SDP by RFC 8866, with attributes by RFC 8829") from None
    media = session.media
    if len(media) != len(text.sections):
        raise refused("expected one description for each m-line")
    kinds = _order(media, max_slots)
    mids = _mids(session)
    ufrag, pwd, fingerprints = _transport(text, media)
    meanings: dict[int, Meaning] = {}
    extensions: dict[str, int] = {}
    allow_mixed = "a=extmap-allow-mixed" in text.session
    read = [
        _section(kind, mid, description, lines, meanings, extensions, allow_mixed)
        for kind, mid, description, lines in zip(kinds, mids, media, text.sections, strict=True)
    ]
    sections = tuple(section for section, _ in read)
    tracks = _tracks(media, sections)
    return PeerOffer(
        ufrag=ufrag,
        pwd=pwd,
        fingerprints=fingerprints,
        payloads=_payloads([formats for _, formats in read]),
        extensions={uri: number for uri, number in extensions.items() if uri in catalogue.EXTENSIONS},
        microphone=tracks[0],
        camera=tracks[1],
        screen=tracks[2],
        audio_slots=tuple(section.mid for section in sections[3:] if section.kind == "audio"),
        video_slots=tuple(section.mid for section in sections[3:] if section.kind == "video"),
        sections=sections,
        allow_mixed=allow_mixed,
    )


def read_restart(sdp: str, former: PeerOffer) -> PeerOffer:
    """Reads an ICE restart of the peer that `former` made: the same but for ICE credentials.

    A browser may order codecs anew in a later offer, or list more; what was agreed on must still be in it.

    Raises:
        OfferRefused: as `read_offer`, or something else than the ICE credentials has changed.
    """
    offer = read_offer(sdp, max_slots=len(former.audio_slots))
    if (offer.ufrag, offer.pwd) == (former.ufrag, former.pwd):
        raise refused("expected new ICE credentials in an ICE restart")
    if set(offer.fingerprints) != set(former.fingerprints):
        raise refused("expected the peer's former fingerprints; a new connection says restart: false")
    for new, old in zip(offer.sections, former.sections, strict=False):
        if (new.kind, new.mid, new.rids) != (old.kind, old.mid, old.rids):
            raise refused("expected the m-lines and rids of the peer that is restarted")
        offered = {(one.payload_type, one.rtpmap) for one in new.formats}
        if not {(one.payload_type, one.rtpmap) for one in old.formats} <= offered:
            raise refused("expected the payload types of the peer that is restarted")
    if len(offer.sections) != len(former.sections):
        raise refused("expected as many m-lines as the peer that is restarted has")
    if any(offer.extensions.get(uri) != number for uri, number in former.extensions.items()):
        raise refused("expected the header extensions of the peer that is restarted")
    return replace(former, ufrag=offer.ufrag, pwd=offer.pwd)


def _mids(session: SessionDescription) -> list[str]:
    mids = [description.rtp.muxId for description in session.media]
    if any(not _MID.match(mid or "") for mid in mids) or len(set(mids)) != len(mids):
        raise refused("expected a different a=mid of at most 16 letters, digits, dots, dashes in each m-line")
    bundles = [group.items for group in session.group if group.semantic == "BUNDLE"]
    if bundles != [mids]:
        raise refused("expected one a=group:BUNDLE with all mids, in order (bundlePolicy: max-bundle)")
    return mids


def _order(media: Sequence[MediaDescription], max_slots: int) -> list[Literal["audio", "video"]]:
    kinds: list[Literal["audio", "video"]] = []
    for description in media:
        if description.kind not in ("audio", "video") or description.profile != PROFILE:
            raise refused(f"expected only m=audio and m=video lines with {PROFILE}")
        if not description.rtcp_mux:
            raise refused("expected a=rtcp-mux in each m-line")
        kinds.append("audio" if description.kind == "audio" else "video")
    if kinds[:3] != ["audio", "video", "video"]:
        raise refused("expected microphone (audio), camera (video) and screen (video) as the first three m-lines")
    if any(description.direction != "sendonly" for description in media[:3]):
        raise refused("expected a=sendonly in the first three m-lines")
    if any(description.direction != "recvonly" for description in media[3:]):
        raise refused("expected a=recvonly in every m-line after the third")
    audio, video = kinds[3:].count("audio"), kinds[3:].count("video")
    if kinds[3:] != ["audio"] * audio + ["video"] * video:
        raise refused("expected all audio slots before the first video slot")
    if audio > max_slots or video > max_slots + 1:
        raise refused(f"expected at most {max_slots} audio slots and {max_slots + 1} video slots")
    return kinds


def _transport(text: Text, media: Sequence[MediaDescription]) -> tuple[str, str, tuple[tuple[str, str], ...]]:
    """ICE credentials and fingerprints, which a bundle has once (RFC 8843, section 7.3)."""
    if "a=ice-lite" in text.session:
        raise refused("expected a full ICE agent: the server is lite")
    first = media[0]
    ufrag, pwd = _credentials(first)
    if not _UFRAG.match(ufrag) or not _PWD.match(pwd):
        raise refused("expected a=ice-ufrag and a=ice-pwd by RFC 8839, section 5.4, in the first m-line")
    fingerprints = _fingerprints(first)
    for description in media[1:]:
        own = _credentials(description)
        if (own[0] or ufrag, own[1] or pwd) != (ufrag, pwd):
            raise refused("expected the same ICE credentials in all m-lines of the bundle")
        dtls = description.dtls
        if dtls is not None and dtls.fingerprints and _fingerprints(description) != fingerprints:
            raise refused("expected the same fingerprints in all m-lines of the bundle")
    return ufrag, pwd, fingerprints


def _credentials(description: MediaDescription) -> tuple[str, str]:
    ice = description.ice
    return (ice.usernameFragment or "", ice.password or "") if ice is not None else ("", "")


def _fingerprints(description: MediaDescription) -> tuple[tuple[str, str], ...]:
    if description.dtls is None or description.dtls.role not in ("auto", "client"):
        raise refused("expected a=setup:actpass or a=setup:active: the server is passive")
    found: list[tuple[str, str]] = []
    for fingerprint in description.dtls.fingerprints:
        algorithm, value = fingerprint.algorithm.lower(), fingerprint.value.upper()
        if algorithm not in _DIGEST_BYTES:
            continue
        if len(value) != 3 * _DIGEST_BYTES[algorithm] - 1 or not _FINGERPRINT.match(value):
            raise refused("expected a=fingerprint with as many hexadecimal bytes as its hash has (RFC 8122)")
        if (algorithm, value) not in found:
            found.append((algorithm, value))
    if not 1 <= len(found) <= MAX_FINGERPRINTS:
        raise refused("expected a=fingerprint with sha-256, sha-384 or sha-512")
    return tuple(found)


def _section(
    kind: Literal["audio", "video"],
    mid: str,
    description: MediaDescription,
    lines: tuple[str, ...],
    meanings: dict[int, Meaning],
    extensions: dict[str, int],
    allow_mixed: bool,
) -> tuple[Section, list[tuple[Payload, Format]]]:
    mixed = allow_mixed or "a=extmap-allow-mixed" in lines
    formats = _formats(description, meanings)
    section = Section(
        kind=kind,
        mid=mid,
        formats=tuple(one for _, one in formats),
        extensions=_extensions(lines, extensions, mixed, sends=description.direction == "sendonly"),
        rids=_rids(lines) if description.direction == "sendonly" and kind == "video" else (),
        reduced_size="a=rtcp-rsize" in lines,
        allow_mixed="a=extmap-allow-mixed" in lines,
    )
    return section, formats


def _formats(description: MediaDescription, meanings: dict[int, Meaning]) -> list[tuple[Payload, Format]]:
    """What is answered of a section's payload types, in the catalogue's order, each with its RTX behind it."""
    offered: dict[int, RTCRtpCodecParameters] = {}
    for codec in description.rtp.codecs:
        if codec.payloadType is None or codec.payloadType in offered:
            raise refused("expected one a=rtpmap for each payload type")
        offered[codec.payloadType] = codec
    if len(set(description.fmt)) != len(description.fmt):
        raise refused("expected each payload type once in an m-line")
    known: list[tuple[int, Payload, Format]] = []
    rtx: dict[int, int] = {}
    for payload_type in description.fmt:
        # 64 to 95, with the marker bit, look like RTCP (RFC 5761, section 4).
        if payload_type > 127 or 64 <= payload_type <= 95:
            raise refused("expected payload types of 0 to 63 and 96 to 127")
        if payload_type not in offered:
            continue  # a static type without a=rtpmap: nothing that we answer
        codec = offered[payload_type]
        parameters = _parameters(codec)
        encoding = codec.name.lower()
        answered = catalogue.identify(description.kind, encoding, codec.clockRate, codec.channels, parameters)
        detail = answered.name if answered else parameters.get("apt", "") if encoding == catalogue.RTX else ""
        meaning = (description.kind, encoding, codec.clockRate, codec.channels, detail)
        if meanings.setdefault(payload_type, meaning) != meaning:
            raise refused("expected a payload type to mean the same in all m-lines (RFC 8843, section 9.1)")
        if encoding == catalogue.RTX and re.fullmatch("[0-9]{1,3}", parameters.get("apt", "")):
            rtx.setdefault(int(parameters["apt"]), payload_type)
        elif answered is not None:
            payload = Payload(payload_type, answered.name)
            known.append((catalogue.ANSWERED.index(answered), payload, _format(payload, codec, parameters)))
    known = _without_lonely_red(known)
    if not any(payload.codec != "red" for _, payload, _ in known):
        wanted = "opus/48000/2" if description.kind == "audio" else "VP8/90000, or another that we answer,"
        raise refused(f"expected {wanted} in each {description.kind} m-line")
    result: list[tuple[Payload, Format]] = []
    for _, payload, answer in sorted(known, key=lambda one: one[0]):
        result.append((payload, answer))
        repair = rtx.get(payload.payload_type)
        if repair is not None and description.kind == "video":
            apt = payload.payload_type
            answer = Format(repair, "rtx/90000", f"apt={apt}")
            result.append((Payload(repair, catalogue.RTX, apt), answer))
    return result


def _without_lonely_red(known: list[tuple[int, Payload, Format]]) -> list[tuple[int, Payload, Format]]:
    """Only the first Opus, and RED only where it wraps that one."""
    opus = next((payload.payload_type for _, payload, _ in known if payload.codec == "opus"), None)
    kept = []
    red_seen = False
    for one in known:
        _, payload, answer = one
        if payload.codec == "opus" and payload.payload_type != opus:
            continue
        if payload.codec == "red":
            if red_seen or answer.fmtp != f"{opus}/{opus}":
                continue
            red_seen = True
        kept.append(one)
    return kept


def _format(payload: Payload, codec: RTCRtpCodecParameters, parameters: Mapping[str, str]) -> Format:
    answered = catalogue.BY_NAME[payload.codec]
    fmtp = answered.fmtp
    if answered.encoding == "h264":
        level = catalogue.h264_profile_level_id(parameters)
        mode = answered.name[-1]
        fmtp = f"level-asymmetry-allowed=1;packetization-mode={mode};profile-level-id={level}"
    elif answered.name == "vp9" and "profile-id" in parameters:
        fmtp = "profile-id=0"
    elif answered.name == "av1" and re.fullmatch("[0-9]{1,2}", parameters.get("level-idx", "")):
        fmtp = f"level-idx={int(parameters['level-idx'])};profile=0;tier=0"
    elif answered.name == "red":
        # "111/111": one level of redundancy is what browsers send, whatever depth they offer.
        parts = next(iter(parameters), "").split("/")
        fmtp = f"{int(parts[0])}/{int(parts[0])}" if all(re.fullmatch("[0-9]{1,3}", part) for part in parts) else ""
    offered = {f"{one.type} {one.parameter}" if one.parameter else one.type for one in codec.rtcpFeedback}
    feedback = tuple(one for one in answered.feedback if one in offered) + answered.unasked
    encoding = answered.encoding.upper() if answered.kind == "video" else answered.encoding
    channels = f"/{answered.channels}" if answered.channels else ""
    return Format(payload.payload_type, f"{encoding}/{answered.clock_rate}{channels}", fmtp, feedback)


def _parameters(codec: RTCRtpCodecParameters) -> dict[str, str]:
    return {
        str(key).strip().lower(): "" if value is None else str(value).strip() for key, value in codec.parameters.items()
    }


def _extensions(
    lines: tuple[str, ...], known: dict[str, int], mixed: bool, *, sends: bool
) -> tuple[tuple[str, str], ...]:
    """The header extensions that are answered; `known` is the bundle's one table, URI to id."""
    highest = 255 if mixed else 14
    taken = {number: uri for uri, number in known.items()}
    result: list[tuple[str, str]] = []
    for value in attribute(lines, "extmap"):
        match = _EXTMAP.match(value)
        # 15 is the one-byte form's stop sign (RFC 8285, section 4.2).
        if not match or not 1 <= (number := int(match[1])) <= highest or number == 15:
            raise refused(f"expected a=extmap:<id> <URI> with an id of 1 to {highest} (not 15) (RFC 8285)")
        direction, uri = match[2], match[3]
        if known.setdefault(uri, number) != number or taken.setdefault(number, uri) != uri:
            raise refused("expected a header extension to have the same id in all m-lines of the bundle")
        useless = direction == ("recvonly" if sends else "sendonly") or direction == "inactive"
        if uri in catalogue.EXTENSIONS and not useless:
            result.append((f"{number}{_MIRRORED[direction]}", uri))
    if len({uri for _, uri in result}) != len(result):
        raise refused("expected each header extension once in an m-line")
    return tuple(result)


def _rids(lines: tuple[str, ...]) -> tuple[str, ...]:
    """The layers of a sending m-line, in the order of `a=simulcast`."""
    rids, simulcast = attribute(lines, "rid"), attribute(lines, "simulcast")
    if not rids and not simulcast:
        return ()
    declared = [match[1] for match in map(_RID.match, rids) if match]
    streams = simulcast[0].split(" ") if simulcast else ["send", ";".join(declared)]
    listed = tuple(streams[1].replace("~", "").split(";")) if len(streams) == 2 and streams[0] == "send" else ()
    if len(simulcast) > 1 or len(declared) != len(rids) or sorted(declared) != sorted(listed) or listed not in RIDS:
        raise refused("expected a=rid:<id> send and a=simulcast:send with the rids of welcome.send: l;h or l;m;h")
    return listed


def _tracks(media: Sequence[MediaDescription], sections: Sequence[Section]) -> list[OfferedTrack]:
    seen: set[int] = set()
    tracks = []
    for description, section in zip(media[:3], sections[:3], strict=True):
        declared = [one.ssrc for one in description.ssrc]
        if len(declared) > MAX_SSRCS or any(not 0 < ssrc < 1 << 32 for ssrc in declared) or seen & set(declared):
            raise refused(f"expected at most {MAX_SSRCS} SSRCs of 32 bits in an m-line, none of them in two")
        seen |= set(declared)
        pairs: dict[int, int | None] = {}
        for group in description.ssrc_group:
            if group.semantic == "FID" and len(group.items) == 2 and set(group.items) <= set(declared):
                pairs[int(group.items[0])] = int(group.items[1])
        repairs = set(pairs.values())
        if len(repairs) != len(pairs) or repairs & set(pairs):
            raise refused("expected each SSRC in one a=ssrc-group:FID at most")
        ssrcs = tuple((ssrc, pairs.get(ssrc)) for ssrc in declared if ssrc not in repairs)
        tracks.append(OfferedTrack(section.mid, section.rids, ssrcs))
    return tracks


def _payloads(sections: Sequence[Sequence[tuple[Payload, Format]]]) -> tuple[Payload, ...]:
    """One table for all m-lines, in the order of the answer."""
    found: dict[int, Payload] = {}
    for formats in sections:
        for payload, _ in formats:
            if found.setdefault(payload.payload_type, payload) != payload:
                raise refused("expected an RTX payload type to repair the same in all m-lines of the bundle")
    rank = {codec.name: index for index, codec in enumerate(catalogue.ANSWERED)}
    primary = sorted((one for one in found.values() if one.apt is None), key=lambda one: rank[one.codec])
    repair = [one for one in found.values() if one.apt is not None]
    return tuple(primary) + tuple(repair)
