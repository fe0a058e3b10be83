"""Sound and pictures for fake devices."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ...bench.speech import speech

__all__ = ["coloured_person", "speech"]


def coloured_person(
    folder: Path, colour: tuple[int, int, int], *, width: int = 640, height: int = 360, rate: int = 15
) -> Path:
    """A Y4M film of 2 s in one colour with a lighter bar that moves along the lower edge, for a fake camera.

    Args:
        colour: (Y, U, V), each 0 to 255. Whoever looks at the upper half of the picture sees just this.
    """
    path = folder / "person-{}-{}-{}-{}x{}-{}.y4m".format(*colour, width, height, rate)
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        made = path.with_suffix(".part")
        frames = 2 * rate
        with made.open("wb") as target:
            target.write(f"YUV4MPEG2 W{width} H{height} F{rate}:1 Ip A1:1 C420jpeg\n".encode())
            for number in range(frames):
                luma = np.full((height, width), colour[0], dtype=np.uint8)
                left = number * (width - 40) // frames
                luma[height - 40 :, left : left + 40] = 230
                target.write(b"FRAME\n")
                target.write(luma.tobytes())
                for chroma in colour[1:]:
                    target.write(np.full((height // 2, width // 2), chroma, dtype=np.uint8).tobytes())
        made.rename(path)
    return path
