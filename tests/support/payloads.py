"""RTP payloads of pictures, both ways, written from the RFCs and not from the engine: small, for tests."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from .streams import Picture

PART = 300  # bytes of picture in a packet, so that most pictures have several


@dataclass
class Numbers:
    """What a sender counts: pictures (modulo its own width) and those of layer 0."""

    picture: int
    tl0: int
    wide: bool = True

    def id(self) -> bytes:
        if self.wide:
            return struct.pack(">H", 0x8000 | self.picture % 0x8000)
        return bytes((self.picture % 0x80,))


@dataclass(frozen=True)
class Part:
    """One packet's payload; `descriptor` is the dependency descriptor beside it."""

    payload: bytes
    marker: bool
    descriptor: bytes | None = None


def packetize(codec: str, picture: Picture, numbers: Numbers) -> list[Part]:
    """A picture's packets; counts it first."""
    numbers.picture += 1
    numbers.tl0 += picture.temporal == 0
    match codec:
        case "vp8":
            payloads = list(_vp8(picture, numbers))
        case "vp9":
            payloads = list(_vp9(picture, numbers))
        case "av1":
            payloads = list(_av1(picture))
        case _:
            payloads = list(_h264(picture))
    last = len(payloads) - 1
    return [
        Part(one, i == last, _descriptor(picture, numbers, i == 0, i == last) if codec == "av1" else None)
        for i, one in enumerate(payloads)
    ]


def _parts(data: bytes) -> Iterator[tuple[int, bytes, bool]]:
    for at in range(0, len(data), PART):
        yield at, data[at : at + PART], at + PART >= len(data)


def _vp8(picture: Picture, numbers: Numbers) -> Iterator[bytes]:
    layer = picture.temporal << 6 | picture.climbs << 5
    for at, part, _ in _parts(picture.data):
        first = 0x90 if at == 0 else 0x80
        yield bytes((first, 0xE0)) + numbers.id() + bytes((numbers.tl0 & 0xFF, layer)) + part


def _vp9(picture: Picture, numbers: Numbers) -> Iterator[bytes]:
    layer = picture.temporal << 5 | picture.climbs << 4
    for at, part, last in _parts(picture.data):
        first = 0xA0 | (not picture.key) << 6 | (at == 0) << 3 | last << 2
        yield bytes((first,)) + numbers.id() + bytes((layer, numbers.tl0 & 0xFF)) + part


def _h264(picture: Picture) -> Iterator[bytes]:
    units = [unit for unit in picture.data.replace(b"\0\0\0\1", b"\0\0\1").split(b"\0\0\1") if unit]
    small = [unit for unit in units if unit[0] & 0x1F in (7, 8)]
    if small:
        yield b"\x78" + b"".join(struct.pack(">H", len(unit)) + unit for unit in small)
    for unit in units:
        if unit in small:
            continue
        if len(unit) <= PART:
            yield unit
            continue
        for at, part, last in _parts(unit[1:]):
            yield bytes((unit[0] & 0xE0 | 28, (at == 0) << 7 | last << 6 | unit[0] & 0x1F)) + part


def _av1(picture: Picture) -> Iterator[bytes]:
    """One OBU element a packet, without sizes; temporal delimiters are not sent (AV1 RTP payload, section 5)."""
    obus = [obu for obu in _obus(picture.data) if obu[0] >> 3 & 15 != 2]
    for place, obu in enumerate(obus):
        for at, part, last in _parts(obu):
            first = picture.key and place == 0 and at == 0
            yield bytes(((at > 0) << 7 | (not last) << 6 | 1 << 4 | first << 3,)) + part


def _obus(data: bytes) -> Iterator[bytes]:
    """The OBUs of a temporal unit, their sizes taken out."""
    at = 0
    while at < len(data):
        header = data[at]
        assert header & 6 == 2, "a size and no extension, as SVT-AV1 writes it"
        size, at = _leb128(data, at + 1)
        yield bytes((header & ~2,)) + data[at : at + size]
        at += size


def _leb128(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at


def _to_leb128(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes(out) + bytes((value,))


def _descriptor(picture: Picture, numbers: Numbers, start: bool, end: bool) -> bytes:
    """Of L1T2: templates of a key frame, of layer 0 and of layer 1, two decode targets."""
    template = 0 if picture.key else 1 + picture.temporal
    head = f"{start:b}{end:b}{template:06b}{numbers.picture % 0x10000:016b}"
    bits = head
    if picture.key and start:
        bits += "10000" + "000000" + "00001"  # a structure; no offset; two decode targets
        bits += "00" + "01" + "11"  # layers 0, 0, 1
        bits += "1010" + "1010" + "0001"  # switch, switch; switch, switch; not present, discardable
        bits += "0" + "1" + "0001" + "0" + "1" + "0000" + "0"  # how far back their references are: none; 2; 1
        bits += "0" + "0"  # no chains, no sizes
    bits += "0" * (-len(bits) % 8)
    return bytes(int(bits[at : at + 8], 2) for at in range(0, len(bits), 8))


@dataclass(frozen=True)
class Got:
    """A payload as a receiver sees it: its part of the picture, and what numbers it bears."""

    data: bytes
    starts: bool
    picture: int | None = None
    tl0: int | None = None
    temporal: int | None = None


def read(codec: str, payload: bytes, descriptor: bytes | None) -> Got:
    """Takes a payload apart that `packetize` made, in whatever numbers."""
    match codec:
        case "vp8":
            assert payload[1] == 0xE0
            number, at = _id(payload, 2)
            return Got(payload[at + 2 :], payload[0] & 0x10 != 0, number, payload[at], payload[at + 1] >> 6)
        case "vp9":
            number, at = _id(payload, 1)
            return Got(payload[at + 2 :], payload[0] & 8 != 0, number, payload[at + 1], payload[at] >> 5)
        case "av1":
            assert descriptor is not None
            number = struct.unpack_from(">H", descriptor, 1)[0]
            return Got(payload, descriptor[0] & 0x80 != 0, number, None, int(descriptor[0] & 0x3F == 2))
        case _:
            # A key frame's parameter sets; of others nothing tells.
            return Got(payload, payload[0] & 0x1F == 24)


def _id(payload: bytes, at: int) -> tuple[int, int]:
    """A picture id, and where the next field is."""
    if payload[at] & 0x80:
        return struct.unpack_from(">H", payload, at)[0] & 0x7FFF, at + 2
    return payload[at], at + 1


def join(codec: str, parts: list[bytes]) -> bytes:
    """The picture of all its packets' parts."""
    if codec in ("vp8", "vp9"):
        return b"".join(parts)
    units: list[bytearray] = []
    for part in parts:
        if codec == "av1":
            if part[0] & 0x80:
                units[-1] += part[1:]
            else:
                units.append(bytearray(part[1:]))
            continue
        kind = part[0] & 0x1F
        if kind == 24:
            at = 1
            while at < len(part):
                (size,) = struct.unpack_from(">H", part, at)
                units.append(bytearray(part[at + 2 : at + 2 + size]))
                at += 2 + size
        elif kind == 28 and part[1] & 0x80:
            units.append(bytearray((part[0] & 0xE0 | part[1] & 0x1F,)) + part[2:])
        elif kind == 28:
            units[-1] += part[2:]
        else:
            units.append(bytearray(part))
    if codec != "av1":
        return b"".join(b"\0\0\0\1" + unit for unit in units)
    # The delimiter and the sizes again, which decoders of files expect.
    sized = (bytes((unit[0] | 2,)) + _to_leb128(len(unit) - 1) + unit[1:] for unit in units)
    return b"\x12\0" + b"".join(sized)
