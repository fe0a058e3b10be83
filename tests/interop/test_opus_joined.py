"""Joined Opus packets against libopus: what they decode to is what the single ones did, sample by sample."""

from __future__ import annotations

import wave

import av
import numpy as np
import pytest
from numpy.typing import NDArray
from vardrum.sfu.engine import join_opus
from vardrum.tests.support.speech import speech

RATE = 48_000


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> NDArray[np.int16]:
    """8 s of speech at 48 kHz with a pause of 2 s in it."""
    with wave.open(str(speech(tmp_path_factory.mktemp("speech")))) as source:
        raw = np.frombuffer(source.readframes(source.getnframes()), dtype=np.int16)
        at = np.arange(0, len(raw), source.getframerate() / RATE)
    said = np.interp(at, np.arange(len(raw)), raw).astype(np.int16)
    return np.concatenate([said[: 4 * RATE], np.zeros(2 * RATE, dtype=np.int16), said[4 * RATE : 6 * RATE]])


def encoded(samples: NDArray[np.int16], options: dict[str, str], bit_rate: int) -> list[bytes]:
    encoder = av.AudioCodecContext.create("libopus", "w")
    encoder.sample_rate, encoder.layout, encoder.format = RATE, "mono", "s16"
    encoder.bit_rate = bit_rate
    encoder.options = options
    encoder.open()
    packets = []
    for start in range(0, len(samples) - encoder.frame_size + 1, encoder.frame_size):
        frame = av.AudioFrame.from_ndarray(samples[None, start : start + encoder.frame_size], "s16", "mono")
        frame.sample_rate, frame.pts = RATE, start
        packets += [bytes(packet) for packet in encoder.encode(frame)]
    return packets


def decoded(packets: list[bytes]) -> NDArray[np.float32]:
    decoder = av.AudioCodecContext.create("libopus", "r")
    decoder.sample_rate, decoder.layout = RATE, "mono"
    frames = [frame.to_ndarray() for packet in packets for frame in decoder.decode(av.Packet(packet))]
    return np.concatenate(frames, axis=1)


@pytest.mark.parametrize(
    ("options", "bit_rate"),
    [
        pytest.param({"frame_duration": "20", "application": "voip"}, 24_000, id="variable"),
        pytest.param({"frame_duration": "20", "application": "voip", "vbr": "off"}, 24_000, id="constant"),
        pytest.param({"frame_duration": "20", "application": "voip"}, 8_000, id="silk"),
        pytest.param({"frame_duration": "10", "application": "lowdelay"}, 64_000, id="celt"),
    ],
)
def test_joined_packets_decode_to_the_same_samples(
    samples: NDArray[np.int16], options: dict[str, str], bit_rate: int
) -> None:
    packets = encoded(samples, options, bit_rate)
    joined: list[bytes] = []
    whole = 0
    size = 60 // int(options["frame_duration"])
    for start in range(0, len(packets), size):
        group = packets[start : start + size]
        one = join_opus(group)
        whole += one is not None
        # A change of configuration in between: as they were.
        joined += [one] if one is not None else list(group)
    assert whole > 0.9 * len(joined), f"only {whole} of {len(joined)}"
    single, together = decoded(packets), decoded(joined)
    assert single.shape == together.shape
    assert np.array_equal(single, together)
    assert sum(map(len, joined)) < sum(map(len, packets)) + 2 * len(joined)


def test_what_is_no_opus_or_of_two_kinds_is_not_joined() -> None:
    assert join_opus([b"\xf8abc", b"\xf8de"]) == b"\xfa\x03abcde"
    assert join_opus([b"\xf8abc", b"\xfcde"]) is None
    assert join_opus([b"\xf8abc", b""]) is None
    assert join_opus([b"\xfb\x06abcdef", b"\xf8g"]) is None, "longer than 120 ms"
