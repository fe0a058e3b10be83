"""How clients are asked to send before anything is known of need and network."""

from __future__ import annotations

import pytest
from vardrum.sfu import send
from vardrum.sfu.devices import DeviceClass
from vardrum.sfu.send import CAMERA, CAMERA_LOW, Profile


def test_welcome_declares_two_layers_each_and_plain_sound() -> None:
    said = send.welcome_send()
    assert said["microphone"] == {"max_bitrate": 24_000, "ptime": 20, "red": False}
    camera = said["camera"]
    assert (camera["width"], camera["height"], camera["frame_rate"]) == (640, 360, 20)
    assert camera["encodings"][0] == {
        "rid": "l",
        "active": True,
        "maxBitrate": 150_000,
        "maxFramerate": 20,
        "scaleResolutionDownBy": 1.5,
        "scalabilityMode": "L1T2",
    }
    assert [one["rid"] for one in said["screen"]["encodings"]] == ["l", "h"]


def test_a_low_phone_sends_what_cheap_cameras_make() -> None:
    assert send.camera_for(DeviceClass.LOW) is CAMERA_LOW
    assert all(send.camera_for(one) is CAMERA for one in DeviceClass if one != DeviceClass.LOW)
    camera = send.welcome_send(CAMERA_LOW)["camera"]
    assert (camera["width"], camera["height"]) == (640, 480)
    assert [one["maxBitrate"] for one in camera["encodings"]] == [140_000, 450_000]


@pytest.mark.parametrize(
    ("source", "rid", "profile", "height", "rate"),
    [
        ("camera", "l", CAMERA, 240, 150_000),
        ("camera", "h", CAMERA, 360, 500_000),
        ("camera", None, CAMERA, 360, 500_000),
        ("camera", "l", CAMERA_LOW, 240, 140_000),
        ("camera", "h", CAMERA_LOW, 480, 450_000),
        ("screen", "l", CAMERA_LOW, 360, 250_000),
        ("screen", "h", CAMERA, 720, 1_000_000),
        ("camera", "q", CAMERA, 360, 500_000),
    ],
)
def test_layers_are_declared(source: str, rid: str | None, profile: Profile, height: int, rate: int) -> None:
    assert send.declared_height(source, rid, profile) == height
    assert send.declared_rate(source, rid, profile) == rate


def test_every_layer_keeps_its_frames_and_is_qvga_at_least() -> None:
    for profile in (CAMERA, CAMERA_LOW):
        for rid in profile.layers:
            scale = profile.layer(rid).scale
            assert profile.width / scale >= 320
            assert profile.height / scale >= 240
        assert profile.frame_rate == 20
