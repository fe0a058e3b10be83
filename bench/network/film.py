"""What the lab's cameras see: a film that gives an encoder about as much to do as somebody who sits and speaks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

WIDTH, HEIGHT, RATE, SECONDS = 640, 360, 20, 5
NOISE = 1.5  # of a camera's sensor, in steps of 256


def _texture(chance: np.random.Generator, height: int, width: int) -> NDArray[np.float64]:
    """Shape (height, width), mean 0, deviation 1, and as much detail as nature has at every size (1/f)."""
    across, down = np.fft.fftfreq(width)[None, :], np.fft.fftfreq(height)[:, None]
    frequency = np.hypot(across * width, down * height)
    frequency[0, 0] = np.inf
    spectrum = np.fft.fft2(chance.normal(size=(height, width))) / frequency
    texture = np.real(np.fft.ifft2(spectrum))
    return np.asarray((texture - texture.mean()) / texture.std())


def film(folder: Path, person: int) -> Path:
    """A Y4M of 640x360 at 20 frames/s: a head that nods before a wall. It ends as it begins; made once."""
    path = folder / f"lab-{person}-{WIDTH}x{HEIGHT}-{RATE}.y4m"
    if path.exists():
        return path
    chance = np.random.default_rng(person)
    wall, face = _texture(chance, HEIGHT, WIDTH), _texture(chance, HEIGHT, WIDTH)
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    path.parent.mkdir(parents=True, exist_ok=True)
    made = path.with_suffix(".part")
    with made.open("wb") as target:
        target.write(f"YUV4MPEG2 W{WIDTH} H{HEIGHT} F{RATE}:1 Ip A1:1 C420jpeg\n".encode())
        for number in range(RATE * SECONDS):
            turn = 2 * np.pi * number / (RATE * SECONDS)
            left, up = round(26 * np.sin(turn)), round(9 * np.sin(2 * turn))
            far = np.hypot((x - WIDTH / 2 - left) / 0.8, y - HEIGHT / 2 - up)
            inside = np.clip((140 - far) / 6, 0, 1)
            head = 150 + 26 * np.roll(face, (up, left), (0, 1))
            luma = inside * head + (1 - inside) * (95 + 30 * wall) + chance.normal(0, NOISE, wall.shape)
            # A mouth that opens and closes three times a second.
            mouth = np.hypot((x - WIDTH / 2 - left) / 2.4, y - HEIGHT / 2 - up - 70)
            luma[mouth < 9 + 7 * np.sin(3 * SECONDS * turn)] = 60
            target.write(b"FRAME\n")
            target.write(np.clip(luma, 16, 235).astype(np.uint8).tobytes())
            small = inside[::2, ::2]
            for warmth in (-12, 18):
                target.write((128 + warmth * small).astype(np.uint8).tobytes())
    made.rename(path)
    return path
