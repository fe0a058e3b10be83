"""How clients are asked to send (CONTRACT, "Sending"), and how tall and how large a layer is by that."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .devices import DeviceClass

FRAME_RATE, SCREEN_RATE = 20, 5
# Opus, bit/s; of who has hardly room for sound, and of everyone else.
AUDIO_STARVED, AUDIO_BITRATE = 16_000, 24_000


@dataclass(frozen=True)
class Layer:
    """One encoding: by how much its sides are smaller than what is captured, and its payload in bit/s at most."""

    scale: float
    bitrate: int


@dataclass(frozen=True)
class Profile:
    """How a source is captured and sent.

    Attributes:
        width, height: of what is captured, pixels.
        layers: by rid, the smallest first.
    """

    name: str
    width: int
    height: int
    frame_rate: int
    layers: Mapping[str, Layer]

    @property
    def lowest(self) -> Layer:
        """The smallest layer."""
        return next(iter(self.layers.values()))

    def layer(self, rid: str | None) -> Layer:
        """The layer with this rid; for a lone encoding, which has none, the whole picture."""
        found = None if rid is None else self.layers.get(rid)
        return found or list(self.layers.values())[-1]

    def encoding(
        self, rid: str | None, layer: Layer, *, active: bool = True, bitrate: int | None = None
    ) -> dict[str, Any]:
        """`RTCRtpEncodingParameters` (W3C WebRTC, 5.2.4); a lone encoding has no rid."""
        return {
            **({} if rid is None else {"rid": rid}),
            "active": active,
            "maxBitrate": layer.bitrate if bitrate is None else bitrate,
            "maxFramerate": self.frame_rate,
            "scaleResolutionDownBy": layer.scale,
            "scalabilityMode": "L1T2",
        }

    def ask(self, encodings: list[dict[str, Any]] | None = None) -> dict[str, Any]:
        """The whole of what `send` says of this source; without `encodings`, all layers as they are declared."""
        declared = [self.encoding(rid, layer) for rid, layer in self.layers.items()]
        return {
            "width": self.width,
            "height": self.height,
            "frame_rate": self.frame_rate,
            "encodings": declared if encodings is None else encodings,
        }


# 426x240 and 640x360: the smallest is QVGA at least, for sign language (EN 301 549 V3.2.1, 6.5.2).
CAMERA = Profile("camera", 640, 360, FRAME_RATE, {"l": Layer(1.5, 150_000), "h": Layer(1, 500_000)})
# What cheap cameras and encoders do without cropping and odd scales: 320x240 and 640x480.
CAMERA_LOW = Profile("camera-low", 640, 480, FRAME_RATE, {"l": Layer(2, 140_000), "h": Layer(1, 450_000)})
SCREEN = Profile("screen", 1280, 720, SCREEN_RATE, {"l": Layer(2, 250_000), "h": Layer(1, 1_000_000)})


def camera_for(device_class: DeviceClass) -> Profile:
    """How a device of that class sends its camera."""
    return CAMERA_LOW if device_class == DeviceClass.LOW else CAMERA


def microphone(max_bitrate: int = AUDIO_BITRATE) -> dict[str, Any]:
    """The whole of what `send` says of a microphone."""
    return {"max_bitrate": max_bitrate, "ptime": 20, "red": False}


def welcome_send(profile: Profile = CAMERA) -> dict[str, Any]:
    """What `welcome.send` says to who sends a camera by `profile`, before anything is known of need and network."""
    return {"microphone": microphone(), "camera": profile.ask(), "screen": SCREEN.ask()}


def declared_height(source: str, rid: str | None, camera: Profile = CAMERA) -> int:
    """How many pixels tall a layer should be, until a key frame tells; `rid` None for a lone encoding."""
    profile = SCREEN if source == "screen" else camera
    return int(profile.height / profile.layer(rid).scale)


def declared_rate(source: str, rid: str | None, camera: Profile = CAMERA) -> int:
    """bit/s of a layer's payload at most, as long as nobody asks for less; `rid` None for a lone encoding."""
    profile = SCREEN if source == "screen" else camera
    return profile.layer(rid).bitrate
