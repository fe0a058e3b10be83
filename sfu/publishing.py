"""What each publisher is asked to send: what somebody needs, as far as its own way to us bears it.

A layer that nobody has needed for 10 s is switched off, and the set of layers changes at most once in 10 s, because
switching one on costs key frames on all. Where only viewers with little room watch, the lowest layer is asked to be
smaller. Where the way up is in trouble, what is above the lowest layer goes first, then the lowest gets smaller, sound
last. Where pictures are stuck in the sender's own queue the first step is taken at once.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .layers import Layers
from .relief import ALL, CAPS, SMALLER, SOUND, Relief, UplinkState
from .send import AUDIO_BITRATE, AUDIO_STARVED, SCREEN, Profile, declared_height, declared_rate, microphone


@dataclass(frozen=True)
class Needs:
    """What somebody is shown of a publisher, or is wished next.

    Attributes:
        camera, screen: by the number of the layer in the offer, the highest useful payload in bit/s; None: as declared.
    """

    camera: Mapping[int, int | None] = field(default_factory=dict)
    screen: Mapping[int, int | None] = field(default_factory=dict)


class Publishing:
    """What one publisher is asked to send; tells what changes.

    Attributes:
        profile: of its camera.
        reshaped: when the camera's lowest layer was last asked for in another size, which makes it begin with a key
            frame by itself.
    """

    def __init__(self, profile: Profile, now: float) -> None:
        self.profile = profile
        self._camera = Layers(profile, tuple(profile.layers), now)
        self._screen = Layers(SCREEN, tuple(SCREEN.layers), now)
        self._relief = Relief()
        self._told = self._asked()
        self.reshaped = -math.inf

    def offered(self, now: float, camera: Sequence[str], screen: Sequence[str]) -> None:
        """Takes a new connection's offer: the rids of both, empty for a lone encoding. What was asked for stays."""
        self._camera = self._camera.renewed(tuple(camera), now)
        self._screen = self._screen.renewed(tuple(screen), now)

    def update(self, now: float, needs: Needs, uplink: UplinkState, *, urgent: bool = False) -> dict[str, Any]:
        """The change of `send` at `now` (seconds), empty where nothing changes.

        Where it is `urgent` a lower rate is asked for at once: somebody has just had to go down to a layer that is
        still too large, and should wait for one key frame of it, not for two.

        A source that nobody needs and of which nothing comes (a camera that is off, a screen that isn't shared) stays
        as it is: there is nothing to save.
        """
        step = self._relief.update(now, uplink, self._camera, self._screen)
        # A lone encoding, which can't be switched off, becomes what the lowest layer would be.
        cap = None if step == ALL else CAPS.get(step, self.profile.lowest.bitrate)
        self._camera.bears(all_layers=step == ALL, cap=cap, at_once=uplink.stuck)
        self._screen.bears(all_layers=step < SMALLER, cap=None)
        self._camera.update(now, needs.camera, uplink.rates, urgent=urgent)
        self._screen.update(now, needs.screen, uplink.screen_rates, urgent=urgent)
        asked = self._asked()
        change = {source: what for source, what in asked.items() if what != self._told[source]}
        if _lowest_scale(asked) != _lowest_scale(self._told):
            self.reshaped = now
        self._told = asked
        return change

    def rest(self, now: float) -> None:
        """Instead of `update` while the camera is muted: nothing changes, and the time doesn't count."""
        self._camera.rest(now)
        self._screen.rest(now)

    @property
    def send(self) -> dict[str, Any]:
        """All that was asked for until now, as `welcome.send` says it."""
        return {
            "microphone": microphone(self._told["microphone"]["max_bitrate"]),
            "camera": self.profile.ask(self._told["camera"]["encodings"]),
            "screen": SCREEN.ask(self._told["screen"]["encodings"]),
        }

    @property
    def encodings_on(self) -> frozenset[int]:
        """The camera's layers that are asked for."""
        return self._camera.on

    @property
    def in_trouble(self) -> bool:
        """Whether it is asked for less because of its network."""
        return self._relief.network and self._relief.step != ALL

    def may_come(self, source: str, layer: int, now: float, within: float) -> bool:
        """Whether a layer that doesn't come might: it can be switched on, or was, or came, less than `within` ago."""
        found = {"camera": self._camera, "screen": self._screen}.get(source)
        return found is not None and found.may_come(layer, now, within)

    def asked(self, source: str, layer: int) -> int:
        """bit/s of payload that a layer is asked to take at most."""
        return (self._screen if source == "screen" else self._camera).asked(layer)

    def declared(self, source: str, rid: str | None) -> tuple[int, int]:
        """A layer's shorter side in pixels and its payload in bit/s, when nobody asks for less."""
        return declared_height(source, rid, self.profile), declared_rate(source, rid, self.profile)

    def _asked(self) -> dict[str, Any]:
        return {
            "microphone": {"max_bitrate": AUDIO_STARVED if self._relief.step == SOUND else AUDIO_BITRATE},
            "camera": {"encodings": self._camera.encodings()},
            "screen": {"encodings": self._screen.encodings()},
        }


def _lowest_scale(asked: dict[str, Any]) -> float:
    scale: float = asked["camera"]["encodings"][0]["scaleResolutionDownBy"]
    return scale
