"""Tracks of a synthetic person, and what is seen and heard in the tracks that come back."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from dataclasses import dataclass, field
from fractions import Fraction

import av
import numpy as np
from aiortc import MediaStreamTrack
from aiortc.mediastreams import MediaStreamError

from ..codecs import media


class _Paced(MediaStreamTrack):
    """Gives its frames in real time."""

    def __init__(self) -> None:
        super().__init__()
        self._began: float | None = None

    async def _due(self, second: float) -> None:
        """Until `second` seconds after the first frame."""
        if self.readyState != "live":
            raise MediaStreamError
        now = time.monotonic()
        if self._began is None:
            self._began = now
        await asyncio.sleep(max(0.0, self._began + second - now))


class NumberedPicture(_Paced):
    """A person's film."""

    kind = "video"

    def __init__(self, person: int, width: int, height: int, frame_rate: int) -> None:
        super().__init__()
        self.number = 0
        self._person, self._width, self._height, self._frame_rate = person, width, height, frame_rate

    async def recv(self) -> av.VideoFrame:
        await self._due(self.number / self._frame_rate)
        frame = media.video_frame(self._person, self.number, self._width, self._height)
        frame.pts, frame.time_base = self.number * 90_000 // self._frame_rate, Fraction(1, 90_000)
        self.number += 1
        return frame


class Tone(_Paced):
    """A person's sound."""

    kind = "audio"

    def __init__(self, person: int) -> None:
        super().__init__()
        self._person = person
        self._sample = 0

    async def recv(self) -> av.AudioFrame:
        await self._due(self._sample / media.SAMPLE_RATE)
        frame = media.audio_frame(self._person, self._sample)
        frame.pts, frame.time_base = self._sample, Fraction(1, media.SAMPLE_RATE)
        self._sample += 960
        return frame


@dataclass(frozen=True)
class Picture:
    """A decoded picture.

    Attributes:
        seen: what it says of itself; None where that can't be read.
        under: the participant whom the server had named for its slot, when it was decoded; None for nobody.
    """

    seen: media.Seen | None
    size: tuple[int, int]
    under: str | None


@dataclass
class Watched:
    """What has come in one slot, newest last.

    Attributes:
        under: the participant whom the server names for this slot now.
        decoded: pictures since the beginning.
        samples: the last half second of sound, one channel.
        scored: of every so many pictures how like it is to what was sent is found out; 0: of none.
        likenesses: those, in dB (`media.likeness`).
    """

    under: str | None = None
    pictures: deque[Picture] = field(default_factory=lambda: deque(maxlen=5000))
    decoded: int = 0
    scored: int = 0
    likenesses: deque[float] = field(default_factory=lambda: deque(maxlen=5000))
    samples: deque[int] = field(default_factory=lambda: deque(maxlen=media.SAMPLE_RATE // 2))

    def tone(self) -> int | None:
        """Whose tone is heard now."""
        return media.read_tone(np.array(self.samples, dtype=np.int16))


async def watch(track: MediaStreamTrack, into: Watched) -> None:
    """Decodes a track until it ends."""
    while True:
        try:
            frame = await track.recv()
        except MediaStreamError:
            return
        if isinstance(frame, av.VideoFrame):
            seen = media.read_video_frame(frame)
            into.pictures.append(Picture(seen, (frame.width, frame.height), into.under))
            into.decoded += 1
            if into.scored and seen is not None and into.decoded % into.scored == 0:
                into.likenesses.append(media.likeness(frame, seen))
        elif isinstance(frame, av.AudioFrame):
            into.samples.extend(media.mono(frame).tolist())
