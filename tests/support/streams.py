"""Numbered pictures in every codec and several temporal layers, as encoders make them, and what each decodes to.

A stream is some groups of pictures that are sent over and over; each begins with a key frame, so that what comes after
it decodes the same in every round.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import av
from av.video.frame import PictureType
from vardrum.codecs import media

GROUP, GROUPS = 16, 4

_LIBVPX = {"deadline": "realtime", "cpu-used": "8", "lag-in-frames": "0", "error-resilient": "1"}
# FFmpeg's pattern 4: of each four pictures the second and fourth are of layer 2 and the third of layer 1; the fourth
# needs the one of layer 1, the others nothing but layer 0.
_THREE_LAYERS = {
    **_LIBVPX,
    "ts-parameters": "ts_number_layers=3:ts_target_bitrate=100,200,300:ts_rate_decimator=4,2,1:ts_periodicity=4"
    ":ts_layer_id=0,2,1,2:ts_layering_mode=4",
}


@dataclass(frozen=True)
class Kind:
    """How a codec is made and what its pictures need of each other.

    Attributes:
        layers: temporal layer by place, over and over.
        climbs: by place, whether a receiver may get this picture's layer from here on (VP8's Y).
    """

    encoder: str
    decoder: str
    options: dict[str, str]
    layers: tuple[int, ...] = (0,)
    climbs: tuple[bool, ...] = (False,)


KINDS = {
    "vp8": Kind("libvpx", "libvpx", _THREE_LAYERS, (0, 2, 1, 2), (False, True, True, False)),
    "vp9": Kind("libvpx-vp9", "libvpx-vp9", _THREE_LAYERS, (0, 2, 1, 2), (True, False, True, False)),
    "h264-1": Kind(
        "libx264",
        "h264",
        {"preset": "ultrafast", "tune": "zerolatency", "profile": "baseline", "forced-idr": "1",
         "x264-params": "repeat-headers=1:keyint=infinite"},
    ),
    "av1": Kind(
        "libsvtav1",
        "libdav1d",
        {"preset": "10", "svtav1-params": "pred-struct=1:lookahead=0:lp=1:rc=2:rtc=1:tbr=400"},
        (0, 1),
        (True, False),
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Picture:
    """One encoded picture: `number` within its stream, what it decodes to, and its layer."""

    number: int
    data: bytes
    key: bool
    temporal: int
    climbs: bool


@dataclass
class Stream:
    """A person's film in one size; `looks` has each picture's number by the hash of what it decodes to."""

    person: int
    pictures: list[Picture]
    looks: dict[str, int] = field(default_factory=dict)


def encode(codec: str, person: int, width: int, height: int) -> Stream:
    """Encodes GROUPS groups of GROUP pictures, and decodes each to know what it looks like."""
    kind = KINDS[codec]
    context: Any = av.CodecContext.create(kind.encoder, "w")
    context.width, context.height, context.pix_fmt = width, height, "yuv420p"
    context.time_base, context.framerate = Fraction(1, 25), Fraction(25)
    context.bit_rate, context.gop_size, context.thread_count, context.options = 400_000, 9999, 1, kind.options
    packets = []
    for number in range(GROUP * GROUPS):
        frame = media.video_frame(person, number, width, height)
        frame.pts = number
        frame.pict_type = PictureType.I if number % GROUP == 0 else PictureType.NONE
        packets += context.encode(frame)
    packets += context.encode(None)
    assert [packet.pts for packet in packets] == list(range(GROUP * GROUPS)), "one packet a picture, in order"
    stream = Stream(person, [])
    for number, packet in enumerate(packets):
        place = number % len(kind.layers)
        picture = Picture(number, bytes(packet), number % GROUP == 0, kind.layers[place], kind.climbs[place])
        assert packet.is_keyframe == picture.key
        stream.pictures.append(picture)
    decoder = Decoder(codec)
    readable = 0
    for picture in stream.pictures:
        (look,) = decoder.decode(picture.data)
        # SVT-AV1 greys a picture now and then beyond reading; its pixels still tell which it is.
        assert look.seen in (None, media.Seen(person, picture.number))
        readable += look.seen is not None
        stream.looks[look.hash] = picture.number
    assert len(stream.looks) == len(stream.pictures), "no two look alike"
    assert readable > 0.9 * len(stream.pictures)
    return stream


@dataclass(frozen=True)
class Look:
    """A decoded picture: who and which it is, its height, and a hash of all its pixels."""

    seen: media.Seen | None
    height: int
    hash: str


class Decoder:
    """Decodes picture after picture; raises what FFmpeg raises at data that is not as it should be."""

    def __init__(self, codec: str) -> None:
        self._context: Any = av.CodecContext.create(KINDS[codec].decoder, "r")
        self._context.thread_count = 1
        # Where FFmpeg decodes itself it conceals what it lacks, unless told not to.
        self._context.options = {"err_detect": "explode"} if codec.startswith("h264") else {}

    def decode(self, data: bytes) -> list[Look]:
        return [
            Look(media.read_video_frame(frame), frame.height, hashlib.sha256(frame.to_ndarray().tobytes()).hexdigest())
            for frame in self._context.decode(av.Packet(data))
        ]
