"""Synthetic people for tests and bots: a picture that says who and which frame it is, and a tone for each person.

The number is a grid of black and white cells, large enough to survive VP8 at a few hundred kbit/s and scaling down to
160 pixels' width; the rest of the picture moves, so that an encoder has something to do. The server itself never
decodes, and never imports this.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]

SAMPLE_RATE = 48_000
COLUMNS, ROWS = 8, 6  # cells, over the middle of the picture: 48 bits
FRAME_BITS, PERSON_BITS, CHECK_BITS = 24, 8, 16
FRAMES = 1 << FRAME_BITS
PEOPLE = 1 << PERSON_BITS
_TOP, _BOTTOM, _LEFT, _RIGHT = 0.125, 0.875, 0.125, 0.875  # where the grid is, as shares of height and width
_DARK, _LIGHT = 40, 215

# Tones a whole number of 20 ms periods apart, so that a window of 100 ms separates them with room to spare.
FIRST_TONE, TONE_STEP, TONES = 400.0, 150.0, 16


@dataclass(frozen=True)
class Seen:
    """What a picture says of itself."""

    person: int
    frame: int


def picture(person: int, frame: int, width: int = 640, height: int = 360) -> Pixels:
    """A frame of a person's film.

    Args:
        person: 0 to 255.
        frame: counts up; taken modulo 2**24.

    Returns:
        shape (height * 3 // 2, width): planar YUV 4:2:0, as `av.VideoFrame.from_ndarray(…, format="yuv420p")` takes it.

    Raises:
        ValueError: the person has no number here, or a side is odd or under 96 pixels.
    """
    if not 0 <= person < PEOPLE:
        raise ValueError(f"expected a person of 0 to {PEOPLE - 1}")
    if width % 2 or height % 2 or min(width, height) < 96:
        raise ValueError("expected even sides of at least 96 pixels")
    frame %= FRAMES
    luma = _background(person, frame, width, height)
    tops, lefts = _edges(height, _TOP, _BOTTOM, ROWS), _edges(width, _LEFT, _RIGHT, COLUMNS)
    bits = _bits(person, frame)
    for row in range(ROWS):
        for column in range(COLUMNS):
            level = _LIGHT if bits[row * COLUMNS + column] else _DARK
            luma[tops[row] : tops[row + 1], lefts[column] : lefts[column + 1]] = level
    planes = np.full((height * 3 // 2, width), 128, dtype=np.uint8)
    planes[:height] = luma
    # A tint of one's own, for people who look at a test that fails.
    chroma = planes[height:].reshape(2, -1)
    chroma[0] = 96 + person * 37 % 64
    chroma[1] = 96 + person * 59 % 64
    return planes


def read_picture(luma: Pixels) -> Seen | None:
    """Who and which frame a decoded picture is.

    Args:
        luma: shape (height, width), brightness 0 to 255, of any size that the picture was scaled to.

    Returns:
        None where the checksum doesn't fit: another picture, or one too damaged to tell.
    """
    height, width = luma.shape
    if min(height, width) < 4 * max(ROWS, COLUMNS):
        return None
    tops, lefts = _edges(height, _TOP, _BOTTOM, ROWS), _edges(width, _LEFT, _RIGHT, COLUMNS)
    means = np.empty(ROWS * COLUMNS)
    for row in range(ROWS):
        for column in range(COLUMNS):
            cell = luma[tops[row] : tops[row + 1], lefts[column] : lefts[column + 1]]
            # The middle of the cell only: scaling and deblocking smear its edges.
            y, x = cell.shape[0] // 4, cell.shape[1] // 4
            means[row * COLUMNS + column] = cell[y : cell.shape[0] - y, x : cell.shape[1] - x].mean()
    middle = (_DARK + _LIGHT) / 2
    # An encoder never greys a cell this much; without it, one noisy picture in 65,536 would pass the checksum.
    if np.abs(means - middle).min() < 30:
        return None
    value = 0
    for bit in means > middle:
        value = value << 1 | int(bit)
    frame = value >> (PERSON_BITS + CHECK_BITS)
    person = value >> CHECK_BITS & (PEOPLE - 1)
    return Seen(person, frame) if value & 0xFFFF == _check(person, frame) else None


def video_frame(person: int, frame: int, width: int = 640, height: int = 360) -> av.VideoFrame:
    """`picture` as PyAV has it; without time stamps."""
    return av.VideoFrame.from_ndarray(picture(person, frame, width, height), format="yuv420p")


def read_video_frame(frame: av.VideoFrame) -> Seen | None:
    """`read_picture` of a decoded frame."""
    planes = frame.to_ndarray(format="yuv420p")
    return read_picture(np.asarray(planes[: frame.height, : frame.width], dtype=np.uint8))


def likeness(frame: av.VideoFrame, seen: Seen) -> float:
    """How like a decoded picture is to the one that was sent: PSNR of the brightness in dB, at most 100.

    Args:
        frame: as large as it was sent.
        seen: what it says of itself.
    """
    size = frame.height, frame.width
    decoded = frame.to_ndarray(format="yuv420p")[: size[0]].astype(np.float64)
    sent = picture(seen.person, seen.frame, size[1], size[0])[: size[0]]
    error = float(np.mean((decoded - sent) ** 2))
    return 100.0 if error == 0 else min(100.0, float(10 * np.log10(255**2 / error)))


def tone_of(person: int) -> float:
    """A person's frequency, in Hz; `TONES` different ones."""
    return FIRST_TONE + TONE_STEP * (person % TONES)


def tone(person: int, start: int, samples: int, rate: int = SAMPLE_RATE) -> NDArray[np.int16]:
    """A person's sound, continuous over calls.

    Args:
        start: number of the first sample since the tone began.

    Returns:
        shape (samples,), at a quarter of full scale.
    """
    # The tone's period in samples isn't whole, so phase is taken from the sample's number, not carried along.
    phase = (np.arange(start, start + samples, dtype=np.float64) * (tone_of(person) / rate)) % 1.0
    return np.asarray(8192 * np.sin(2 * np.pi * phase), dtype=np.int16)


def read_tone(samples: NDArray[np.int16], rate: int = SAMPLE_RATE) -> int | None:
    """Which person's tone (number modulo `TONES`) is loudest.

    Args:
        samples: shape (n,), one channel; 100 ms and more.

    Returns:
        None for silence, noise, less than 100 ms, or two tones of much the same loudness.
    """
    if len(samples) < rate // 10:
        return None
    signal = np.asarray(samples, dtype=np.float64) * np.hanning(len(samples))
    energy = float(np.sum(signal**2))
    if energy < len(samples) * 50.0**2:
        return None
    times = np.arange(len(samples)) / rate
    tones = np.array([tone_of(person) for person in range(TONES)])
    correlation = np.abs(np.exp(-2j * np.pi * tones[:, None] * times[None, :]) @ signal)
    order = np.argsort(correlation)
    strongest, second = correlation[order[-1]], correlation[order[-2]]
    # A pure tone under a Hann window puts two thirds of len * energy / 2 into its bin; noise a thousandth.
    pure = strongest**2 > 0.2 * energy * len(samples) / 2
    return int(order[-1]) if pure and strongest > 2 * second else None


def audio_frame(person: int, start: int, samples: int = 960) -> av.AudioFrame:
    """`tone` as PyAV has it: mono, 16 bits, 48 kHz; without time stamps."""
    frame = av.AudioFrame.from_ndarray(tone(person, start, samples)[None, :], format="s16", layout="mono")
    frame.sample_rate = SAMPLE_RATE
    return frame


def mono(frame: av.AudioFrame) -> NDArray[np.int16]:
    """The samples of a decoded frame (packed or planar, 16 bits or float), channels averaged; shape (samples,)."""
    data: NDArray[Any] = np.asarray(frame.to_ndarray())
    channels = len(frame.layout.channels)
    if not frame.format.is_planar:
        data = data.reshape(-1, channels).T
    if data.dtype.kind == "f":
        data = data * 32_767.0
    return np.asarray(data.mean(axis=0), dtype=np.int16)


def _edges(size: int, first: float, last: float, cells: int) -> list[int]:
    return [round(size * (first + (last - first) * index / cells)) for index in range(cells + 1)]


def _check(person: int, frame: int) -> int:
    """CRC-16/CCITT over frame and person."""
    crc = 0xFFFF
    for byte in (frame << PERSON_BITS | person).to_bytes(4, "big"):
        crc ^= byte << 8
        for _ in range(8):
            crc = (crc << 1 ^ 0x1021 if crc & 0x8000 else crc << 1) & 0xFFFF
    return crc


def _bits(person: int, frame: int) -> list[int]:
    value = (frame << PERSON_BITS | person) << CHECK_BITS | _check(person, frame)
    return [value >> place & 1 for place in reversed(range(ROWS * COLUMNS))]


def _background(person: int, frame: int, width: int, height: int) -> Pixels:
    """Diagonal stripes that wander; different for each person."""
    x = np.arange(width, dtype=np.int32)[None, :]
    y = np.arange(height, dtype=np.int32)[:, None]
    return np.asarray(64 + (x + y * (1 + person % 3) + 4 * frame) % 128, dtype=np.uint8)
