"""The text of an offer: bounds, characters and lines, before anything interprets it.

Every later step may rely on printable ASCII, on line ends that mean the same to every reader, and on counts that keep
aiortc's parser (quadratic in places) under a few milliseconds a section.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from .types import OfferRefused

PROFILE = "UDP/TLS/RTP/SAVPF"
MAX_SIZE = 256 * 1024  # as the websocket's messages (CONTRACT)
MAX_LINE = 1000  # the longest seen is Chromium's m=video, 130
MAX_LINES = 400  # in one section; Chromium's longest has 170
MAX_FORMATS = 64  # in one section; Chromium has 34
MAX_WILDCARDS = 8  # a=rtcp-fb:* lines in one section, which aiortc's parser multiplies by the formats
MAX_SECTIONS = 40  # 16 participants: three of one's own, 15 slots of sound and 16 of pictures

# What aiortc's parser is given; it raises at oddities in lines that nobody here needs (candidates, extmap attributes).
_ATTRIBUTES = frozenset(
    {
        "group",
        "ice-lite",
        "ice-ufrag",
        "ice-pwd",
        "fingerprint",
        "setup",
        "mid",
        "sendrecv",
        "sendonly",
        "recvonly",
        "inactive",
        "rtcp-mux",
        "rtpmap",
        "fmtp",
        "rtcp-fb",
        "ssrc-group",
    }
)
_PRINTABLE = re.compile(r"[\x20-\x7e\n]*\Z")
_SSRC_CNAME = re.compile(r"a=ssrc:[0-9]{1,10} cname:")


def refused(expected: str) -> OfferRefused:
    """The one error of this parser; `expected` is for the developer of the page, and repeats nothing of the offer."""
    return OfferRefused("bad-offer", expected)


@dataclass(frozen=True)
class Text:
    """An offer's lines, without their ends: those before the first m-line, and those of each m-line."""

    session: tuple[str, ...]
    sections: tuple[tuple[str, ...], ...]

    def for_parser(self) -> str:
        """The same description with only the lines that aiortc's parser is asked about."""
        kept = list(self.session[:1]) + [line for line in self.session[1:] if _wanted(line)]
        for section in self.sections:
            kept.append(section[0])
            kept += [line for line in section[1:] if _wanted(line)]
        return "\r\n".join(kept) + "\r\n"


def split(sdp: str) -> Text:
    """The lines of an offer.

    Raises:
        OfferRefused: too large, not printable ASCII, or not SDP at all.
    """
    if not isinstance(sdp, str) or len(sdp) > MAX_SIZE:
        raise refused(f"expected an SDP text of at most {MAX_SIZE} bytes")
    text = sdp.replace("\r\n", "\n")
    # One check for all that is copied later: no control character, and no other line end that Python's splitlines
    # (in aiortc) knows, ever gets through.
    if not _PRINTABLE.match(text):
        raise refused("expected printable ASCII in lines that end in CR LF")
    lines = text.split("\n")
    while lines and not lines[-1]:
        lines.pop()
    if not lines or lines[0] != "v=0":
        raise refused("expected v=0 as the first line (RFC 8866, section 5.1)")
    starts = [index for index, line in enumerate(lines) if line.startswith("m=")]
    if not 3 <= len(starts) <= MAX_SECTIONS:
        raise refused(f"expected 3 to {MAX_SECTIONS} m-lines: microphone, camera, screen, then the slots")
    groups = [tuple(lines[a:b]) for a, b in zip([0, *starts], [*starts, len(lines)], strict=True)]
    for group in groups:
        if len(group) > MAX_LINES:
            raise refused(f"expected at most {MAX_LINES} lines in a media section")
        if sum(line.startswith("a=rtpmap:") for line in group) > MAX_FORMATS:
            raise refused(f"expected at most {MAX_FORMATS} a=rtpmap lines in a media section")
        if sum(line.startswith("a=rtcp-fb:*") for line in group) > MAX_WILDCARDS:
            raise refused(f"expected at most {MAX_WILDCARDS} a=rtcp-fb:* lines in a media section")
        for line in group:
            if len(line) > MAX_LINE or line[1:2] != "=":
                raise refused(f"expected lines of the form <letter>=<value>, at most {MAX_LINE} characters long")
    return Text(session=groups[0], sections=tuple(groups[1:]))


def attribute(lines: tuple[str, ...], name: str) -> list[str]:
    """The values of all `a=<name>:` lines."""
    start = f"a={name}:"
    return [line[len(start) :] for line in lines if line.startswith(start)]


def _wanted(line: str) -> bool:
    if not line.startswith("a="):
        return False
    return line[2:].split(":", 1)[0] in _ATTRIBUTES or _SSRC_CNAME.match(line) is not None
