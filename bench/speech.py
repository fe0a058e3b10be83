"""Sound for fake microphones: speech, because a beep never makes an encoder do what a voice does."""

from __future__ import annotations

import subprocess
import wave
from pathlib import Path

import numpy as np

SENTENCE = (
    "Hello, and welcome to this visit. How have you been since we last met? I have taken the medicine each morning, "
    "and the cough is better, but I still sleep badly, and in the evening my left knee hurts when I climb the stairs."
)


def speech(folder: Path, voice: str = "en") -> Path:
    """A WAV of about 12 s of speech without a pause at its end, which browsers play in a loop; made once."""
    path = folder / f"speech-{voice}.wav"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        made = path.with_suffix(".part")
        subprocess.run(["espeak-ng", "-v", voice, "-s", "165", "-g", "0", "-w", str(made), SENTENCE], check=True)
        # Chromium's fake microphone reads 16-bit PCM of any rate, but a loop that ends in silence would be a pause.
        with wave.open(str(made)) as source:
            parameters, data = source.getparams(), source.readframes(source.getnframes())
        samples = np.frombuffer(data, dtype=np.int16)
        loud = np.flatnonzero(np.abs(samples.astype(np.int32)) > 200)
        with wave.open(str(made), "wb") as target:
            target.setparams(parameters)
            target.writeframes(samples[: int(loud[-1]) + 1].tobytes())
        made.rename(path)
    return path
