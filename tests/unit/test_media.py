"""Synthetic people are recognised after a real encoder, a scaler and a bad bitrate have been at them."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from vardrum.codecs import media
from vardrum.codecs.media import Seen


@given(
    person=st.integers(0, 255),
    frame=st.integers(0, media.FRAMES - 1),
    size=st.sampled_from([(640, 360), (320, 180), (176, 144), (360, 640), (1280, 720)]),
)
def test_a_picture_says_who_and_which_frame(person: int, frame: int, size: tuple[int, int]) -> None:
    planes = media.picture(person, frame, *size)
    assert planes.shape == (size[1] * 3 // 2, size[0])
    assert media.read_picture(planes[: size[1]]) == Seen(person, frame)


def test_the_frame_number_wraps() -> None:
    assert media.read_video_frame(media.video_frame(1, media.FRAMES + 5)) == Seen(1, 5)


@pytest.mark.parametrize(
    ("codec", "options"), [("libvpx", {"deadline": "realtime", "cpu-used": "8"}), ("libx264", {"preset": "ultrafast"})]
)
@pytest.mark.parametrize("size", [(160, 90), (320, 180), (640, 360)])
def test_it_survives_an_encoder_and_scaling(codec: str, options: dict[str, str], size: tuple[int, int]) -> None:
    encoder: Any = av.CodecContext.create(codec, "w")
    encoder.width, encoder.height = size
    encoder.pix_fmt = "yuv420p"
    encoder.time_base = Fraction(1, 20)
    encoder.framerate = Fraction(20)
    encoder.bit_rate = 60_000 if size[0] == 160 else 150_000
    encoder.options = options
    decoder: Any = av.CodecContext.create("vp8" if codec == "libvpx" else "h264", "r")
    packets = []
    for number in range(20):
        frame: Any = media.video_frame(7, 1000 + number).reformat(width=size[0], height=size[1])
        frame.pts, frame.time_base = number, Fraction(1, 20)
        packets += encoder.encode(frame)
    packets += encoder.encode(None)
    decoded = [frame for packet in packets for frame in decoder.decode(packet)] + decoder.decode(None)
    assert [media.read_video_frame(frame) for frame in decoded] == [Seen(7, 1000 + number) for number in range(20)]


@given(st.integers(0, 2**32 - 1), st.sampled_from([(64, 64), (90, 160), (360, 640)]))
def test_another_picture_is_nobody(seed: int, size: tuple[int, int]) -> None:
    noise = np.random.default_rng(seed).integers(0, 256, size, dtype=np.uint8)
    assert media.read_picture(noise) is None


def test_a_picture_too_small_to_read_is_nobody() -> None:
    assert media.read_picture(np.zeros((8, 8), dtype=np.uint8)) is None


@pytest.mark.parametrize("value", [0, 128, 255])
def test_one_colour_is_nobody(value: int) -> None:
    assert media.read_picture(np.full((360, 640), value, dtype=np.uint8)) is None


@pytest.mark.parametrize(("person", "width", "height"), [(256, 640, 360), (-1, 640, 360), (0, 641, 360), (0, 64, 64)])
def test_what_has_no_picture_is_refused(person: int, width: int, height: int) -> None:
    with pytest.raises(ValueError, match="expected"):
        media.picture(person, 0, width, height)


@given(person=st.integers(0, 255), start=st.integers(0, 10**9), samples=st.integers(4800, 9600))
def test_a_tone_says_who(person: int, start: int, samples: int) -> None:
    assert media.read_tone(media.tone(person, start, samples)) == person % media.TONES


def test_a_tone_goes_on_over_calls() -> None:
    whole = media.tone(3, 0, 1920)
    parts = np.concatenate([media.tone(3, 0, 960), media.tone(3, 960, 960)])
    assert np.array_equal(whole, parts)


def test_silence_noise_and_two_at_once_are_nobody() -> None:
    assert media.read_tone(np.zeros(9600, dtype=np.int16)) is None
    assert media.read_tone(np.random.default_rng(1).integers(-8000, 8000, 9600).astype(np.int16)) is None
    assert media.read_tone(media.tone(1, 0, 9600) + media.tone(5, 0, 9600)) is None
    assert media.read_tone(media.tone(1, 0, 960)) is None


@pytest.mark.parametrize("person", range(media.TONES))
def test_a_tone_survives_opus(person: int) -> None:
    encoder: Any = av.CodecContext.create("libopus", "w")
    encoder.sample_rate, encoder.bit_rate, encoder.layout, encoder.format = 48_000, 24_000, "mono", "s16"
    encoder.options = {"application": "voip"}
    decoder: Any = av.CodecContext.create("libopus", "r")
    decoder.sample_rate, decoder.layout = 48_000, "stereo"
    heard = []
    for number in range(25):
        frame: Any = media.audio_frame(person, number * 960)
        frame.pts, frame.time_base = number * 960, Fraction(1, 48_000)
        for packet in encoder.encode(frame):
            heard += [media.mono(one) for one in decoder.decode(packet)]
    samples = np.concatenate(heard)
    assert media.read_tone(samples[-9600:]) == person
