"""What is answered in SDP, in which order, with which parameters: the one list of codecs and header extensions.

Names are used everywhere in Python, numbers on the border to the engine.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Kind = Literal["audio", "video"]

# The engine knows codecs by these numbers (sfu/engine/src/packet.rs).
NUMBERS: Mapping[str, int] = {"opus": 0, "red": 1, "vp8": 2, "h264-1": 3, "h264-0": 4, "vp9": 5, "av1": 6}

RTX = "rtx"

VIDEO_FEEDBACK = ("goog-remb", "transport-cc", "ccm fir", "nack", "nack pli")


@dataclass(frozen=True)
class Codec:
    """One codec that we answer.

    Attributes:
        name: ours; H.264 is two codecs, one for each packetization mode, because a receiver of mode 0 can't take FU-A.
        encoding, clock_rate, channels: of `a=rtpmap`, the encoding in lower case.
        fmtp: parameters that we answer whatever was offered; empty where they follow from the offer.
        feedback: `a=rtcp-fb` values that are answered where they were offered.
        unasked: `a=rtcp-fb` values that are answered even so.
    """

    name: str
    kind: Kind
    encoding: str
    clock_rate: int
    channels: int | None
    fmtp: str = ""
    feedback: tuple[str, ...] = ()
    unasked: tuple[str, ...] = ()

    @property
    def number(self) -> int:
        """What the engine calls it."""
        return NUMBERS[self.name]

    @property
    def mime(self) -> str:
        """Its MIME type, as browsers write it."""
        return f"{self.kind}/{self.encoding if self.kind == 'audio' else self.encoding.upper()}"


# In the order of the answer: browsers send the first that they can.
ANSWERED: tuple[Codec, ...] = (
    Codec(
        "opus",
        "audio",
        "opus",
        48_000,
        2,
        fmtp="minptime=10;useinbandfec=1;usedtx=1;maxaveragebitrate=24000",
        feedback=("transport-cc",),
        # No browser offers it, Chromium and Firefox resend when asked: the cheapest repair there is (DESIGN, "Sound").
        unasked=("nack",),
    ),
    # After opus, because Chromium sends RED (twice the bitrate) whenever it is listed first.
    Codec("red", "audio", "red", 48_000, 2, feedback=("transport-cc",)),
    Codec("vp8", "video", "vp8", 90_000, None, feedback=VIDEO_FEEDBACK),
    Codec("h264-1", "video", "h264", 90_000, None, feedback=VIDEO_FEEDBACK),
    Codec("h264-0", "video", "h264", 90_000, None, feedback=VIDEO_FEEDBACK),
    Codec("vp9", "video", "vp9", 90_000, None, feedback=VIDEO_FEEDBACK),
    Codec("av1", "video", "av1", 90_000, None, feedback=VIDEO_FEEDBACK),
)
BY_NAME: Mapping[str, Codec] = {codec.name: codec for codec in ANSWERED}

EXTENSION_MID = "urn:ietf:params:rtp-hdrext:sdes:mid"
EXTENSION_RID = "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id"
EXTENSION_REPAIRED_RID = "urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id"
EXTENSION_TRANSPORT_CC = "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01"
EXTENSION_ABS_SEND_TIME = "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time"
EXTENSION_AUDIO_LEVEL = "urn:ietf:params:rtp-hdrext:ssrc-audio-level"
EXTENSION_PLAYOUT_DELAY = "http://www.webrtc.org/experiments/rtp-hdrext/playout-delay"
EXTENSION_DEPENDENCY_DESCRIPTOR = (
    "https://aomediacodec.github.io/av1-rtp-spec/#dependency-descriptor-rtp-header-extension"
)

# No video-orientation: a phone then turns its pictures itself, and a slot's rotation never changes with its source.
EXTENSIONS: frozenset[str] = frozenset(
    {
        EXTENSION_MID,
        EXTENSION_RID,
        EXTENSION_REPAIRED_RID,
        EXTENSION_TRANSPORT_CC,
        EXTENSION_ABS_SEND_TIME,
        EXTENSION_AUDIO_LEVEL,
        EXTENSION_PLAYOUT_DELAY,
        EXTENSION_DEPENDENCY_DESCRIPTOR,
    }
)

# What `a=fmtp` calls a codec's profile; 0 where it isn't named (RFC 9628, section 6; AV1 RTP payload, section 7.2).
_PROFILE: Mapping[str, str] = {"vp9": "profile-id", "av1": "profile"}
_PROFILE_LEVEL_ID = re.compile(r"[0-9a-f]{6}\Z")


def h264_profile_level_id(parameters: Mapping[str, str]) -> str | None:
    """The offered `profile-level-id` in lower case, where it is a baseline that we answer; else None.

    Constrained Baseline by RFC 6184, table 5, and plain Baseline (42001f), which browsers offer beside it and
    encode the same way: none makes FMO, ASO or redundant slices.

    Args:
        parameters: of `a=fmtp`, keys in lower case. Without a profile-level-id it is Baseline, level 1
            (RFC 6184, section 8.1).
    """
    value = parameters.get("profile-level-id", "42000a").lower()
    if not _PROFILE_LEVEL_ID.match(value):
        return None
    profile, constraints = int(value[:2], 16), int(value[2:4], 16)
    constrained_main = profile == 0x4D and constraints & 0x80
    constrained_extended = profile == 0x58 and constraints & 0xC0 == 0xC0
    return value if profile == 0x42 or constrained_main or constrained_extended else None


def identify(
    kind: str, encoding: str, clock_rate: int, channels: int | None, parameters: Mapping[str, str]
) -> Codec | None:
    """The codec that an offered payload type means; None where we don't answer it.

    Args:
        encoding: of `a=rtpmap`, in any case.
        channels: of `a=rtpmap`, None where it names none.
        parameters: of `a=fmtp`, keys in lower case.
    """
    found = [
        codec
        for codec in ANSWERED
        if (codec.kind, codec.encoding, codec.clock_rate) == (kind, encoding.lower(), clock_rate)
        and codec.channels in (None, channels)
    ]
    if found and found[0].encoding == "h264":
        if h264_profile_level_id(parameters) is None:
            return None
        return BY_NAME.get(f"h264-{parameters.get('packetization-mode', '0')}")
    # The main profiles, 8 bits and 4:2:0; nobody has to be able to decode the others.
    if found and parameters.get(_PROFILE.get(found[0].name, ""), "0") != "0":
        return None
    return found[0] if found else None
