"""How clients are asked to send (CONTRACT, "Sending"), and how tall a layer is by that."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

WIDTH, HEIGHT, FRAME_RATE = 640, 360, 20
SCREEN_WIDTH, SCREEN_HEIGHT, SCREEN_RATE = 1280, 720, 5
AUDIO_BITRATE = 24_000

# By rid: scale, and bits/s of the camera and of the screen. A quarter of the picture needs about a third of the bits.
_LAYERS: Mapping[str, tuple[int, int, int]] = {"l": (2, 150_000, 250_000), "h": (1, 500_000, 1_000_000)}


def _encodings(frame_rate: int, screen: bool) -> list[dict[str, Any]]:
    return [
        {
            "rid": rid,
            "active": True,
            "maxBitrate": screen_rate if screen else camera_rate,
            "maxFramerate": frame_rate,
            "scaleResolutionDownBy": scale,
            "scalabilityMode": "L1T2",
        }
        for rid, (scale, camera_rate, screen_rate) in _LAYERS.items()
    ]


def welcome_send() -> dict[str, Any]:
    """What `welcome.send` says: the same to everyone for now, 640x360 at 20 fps in two layers."""
    return {
        "microphone": {"max_bitrate": AUDIO_BITRATE, "ptime": 20, "red": False},
        "camera": {
            "width": WIDTH,
            "height": HEIGHT,
            "frame_rate": FRAME_RATE,
            "encodings": _encodings(FRAME_RATE, screen=False),
        },
        "screen": {
            "width": SCREEN_WIDTH,
            "height": SCREEN_HEIGHT,
            "frame_rate": SCREEN_RATE,
            "encodings": _encodings(SCREEN_RATE, screen=True),
        },
    }


def declared_height(source: str, rid: str | None) -> int:
    """How many pixels tall a layer should be, until a key frame tells; `rid` None for a lone encoding."""
    full = SCREEN_HEIGHT if source == "screen" else HEIGHT
    layer = None if rid is None else _LAYERS.get(rid)
    return full if layer is None else full // layer[0]
