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

from .send import AUDIO_BITRATE, AUDIO_STARVED, SCREEN, Layer, Profile, declared_height, declared_rate, microphone

# Seconds without need after which a layer goes off, and between two changes of the set of layers.
OFF_AFTER, APART = 10.0, 10.0
# No layer is asked for with less, bit/s; rates are asked for in such steps.
LEAST, STEP = 50_000, 10_000
# With so little of its rate the lowest layer gets smaller, with so much as large as it was: a coder that has too few
# bits for its pixels leaves frames out, and frames are what is kept (EN 301 549 V3.2.1, 6.5.3). Another size takes key
# frames of all layers, which cost frames too.
SMALLER_BELOW, LARGE_FROM, SMALLER_BY = 0.6, 0.85, 4 / 3
# So it gets larger only once there has been enough for so long, and UP_AFTER: some networks swing every twenty seconds.
GROWS_AFTER = 25.0
# A lower rate that differs by more than this share is asked for after 1 s, a higher one after 5; a lower one that
# leaves the size as it is, and so costs nothing, at once: what is sent meanwhile waits, and is too old in the end.
DIFFERS, DOWN_AFTER, UP_AFTER = 0.15, 1.0, 5.0
# A layer that is on and hasn't come for so long, while another does, isn't asked for again for a while, twice as
# long each time: the browser doesn't make it (Chromium makes one layer of a small picture).
MISSING_AFTER, BARRED, LONGEST_BARRED = 10.0, 30.0, 480.0

# Trouble. Above this share of loss; below the second it is calm. 8 % of single losses is 10 % in some three seconds.
LOSSY, CALM_LOSS = 0.12, 0.10
# What is limited by bandwidth and comes with less than these shares of what was asked for, is in trouble: above the
# lowest layer half of the bits make a good picture. (A lone small layer is also called limited when its coder is.)
SHORT, SHORT_LOWEST = 0.5, 0.8
# Seconds, and round trips, that a sender's own estimate takes to get to where it could be: until then it is no trouble.
SETTLED, SETTLED_TRIPS = 5.0, 10.0
# Seconds of trouble before a step: while there is something above the lowest layer, and when there isn't.
TROUBLE_FOR, STILL_FOR = 3.0, 5.0
# The same for an encoder that can't keep up, which is helped by the first step only.
SLOW_FOR = 6.0
# One step back after so long a calm, twice as long after each that failed within.
CALM_FOR, LONGEST_CALM, FAILED_WITHIN = 10.0, 120.0, 20.0
# The steps: all that is needed; the lowest layer only; that layer smaller (and of a screen the lowest only); smallest;
# sound smaller too.
ALL, LOWEST, SMALLER, SMALLEST, SOUND = range(5)
CAPS = {SMALLER: 100_000, SMALLEST: 60_000, SOUND: 60_000}


@dataclass(frozen=True)
class Needs:
    """What somebody is shown of a publisher, or is wished next.

    Attributes:
        camera, screen: by the number of the layer in the offer, the highest useful payload in bit/s; None: as declared.
    """

    camera: Mapping[int, int | None] = field(default_factory=dict)
    screen: Mapping[int, int | None] = field(default_factory=dict)


@dataclass(frozen=True)
class UplinkState:
    """How a publisher's own way to us is.

    Attributes:
        loss: share of its packets lost; NaN while unknown.
        limitation: its newest `qualityLimitationReason` (W3C webrtc-stats); None while it sends no camera.
        rates: payload of the camera's layers that come now, bit/s by layer; screen_rates: the screen's, None: unknown.
        round_trip: seconds.
        stuck: its pictures stand in its own queue, see `uplinks.SendersQueues`.
    """

    loss: float = math.nan
    limitation: str | None = None
    rates: Mapping[int, float] = field(default_factory=dict)
    round_trip: float = 0.1
    screen_rates: Mapping[int, float] | None = None
    stuck: bool = False


class Publishing:
    """What one publisher is asked to send; tells what changes.

    Attributes:
        profile: of its camera.
        reshaped: when the camera's lowest layer was last asked for in another size, which makes it begin with a key
            frame by itself.
    """

    def __init__(self, profile: Profile, now: float) -> None:
        self.profile = profile
        self._camera = _Source(profile, tuple(profile.layers), now)
        self._screen = _Source(SCREEN, tuple(SCREEN.layers), now)
        self._relief = _Relief()
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


class _Rate:
    """bit/s that a layer is asked to take at most: down soon, up later, and not for every little difference."""

    def __init__(self, declared: int) -> None:
        self.declared = self.asked = declared
        self._lower_since: float | None = None
        self._higher_since: float | None = None
        self._large_since: float | None = None

    def update(self, now: float, useful: int | None, *, urgent: bool, small: bool) -> None:
        """Takes what is useful (None: all that is declared); `small`: it is asked to be smaller than declared."""
        wanted = self.declared if useful is None else min(self.declared, max(LEAST, round(useful / STEP) * STEP))
        large = math.ceil(LARGE_FROM * self.declared)
        self._large_since = _since(self._large_since, wanted >= large, now)
        if small and not _lasts(self._large_since, GROWS_AFTER, now):
            wanted = min(wanted, (large - 1) // STEP * STEP)
        size_stays = math.ceil(SMALLER_BELOW * self.declared)
        lower = wanted < self.asked * (1 - DIFFERS) or wanted < size_stays == self.asked
        self._lower_since = _since(self._lower_since, lower, now)
        self._higher_since = _since(self._higher_since, wanted > self.asked, now)
        if _lasts(self._lower_since, 0.0 if urgent else DOWN_AFTER, now) or _lasts(self._higher_since, UP_AFTER, now):
            self.asked = wanted
            self._lower_since = self._higher_since = None
        elif lower:
            self.asked = wanted if self.asked < size_stays else max(wanted, size_stays)


class _Source:
    """The layers of one camera or screen, numbered as offered; 0 is the lowest.

    Attributes:
        on: the layers that are asked for; changed: when they last changed; grown: when one was last added.
        coming_since: since when anything comes; None while nothing does, or while that isn't known.
        top: the highest layer that the way up bears.
    """

    def __init__(self, profile: Profile, rids: tuple[str, ...], now: float) -> None:
        self.profile = profile
        self.rids: tuple[str | None, ...] = rids or (None,)
        self.on = frozenset(range(len(self.rids)))
        self.changed = self.grown = -math.inf
        self.coming_since: float | None = None
        self.top = len(self.rids) - 1
        self._at_once = False
        self._cap: int | None = None
        self._shrunk = False
        self._needed = [now for _ in self.rids]
        self._since = [now for _ in self.rids]  # on since, or last seen
        self._rates = [_Rate(profile.layer(rid).bitrate) for rid in self.rids]
        self._barred = [(-math.inf, BARRED) for _ in self.rids]  # until when; for how long next time

    def renewed(self, rids: tuple[str, ...], now: float) -> _Source:
        """The same for a new connection that offers `rids`."""
        fresh = _Source(self.profile, rids, now)
        fresh.top, fresh._cap = min(self.top, fresh.top), self._cap
        if fresh.rids == self.rids:
            fresh.on, fresh.changed, fresh._rates = self.on, self.changed, self._rates
        return fresh

    def bears(self, *, all_layers: bool, cap: int | None, at_once: bool = False) -> None:
        """Takes what the way up bears: all layers or only the lowest, and that with at most `cap` bit/s.

        `at_once`: what it doesn't bear goes off however short ago layers changed. A browser then throws away what
        waits of it.
        """
        self._at_once = at_once
        self.top = len(self.rids) - 1 if all_layers else 0
        self._cap = cap

    def update(
        self, now: float, needs: Mapping[int, int | None], rates: Mapping[int, float] | None, *, urgent: bool
    ) -> None:
        """Takes what is needed of it, and what comes (None: unknown); `urgent` as `Publishing.update` has it."""
        self._watch(now, rates)
        if not needs and not rates and self.top == len(self.rids) - 1:
            self.rest(now)
            return
        for layer in needs.keys() & set(range(len(self.rids))):
            self._needed[layer] = now
            self._rates[layer].update(now, needs[layer], urgent=urgent, small=self._shrunk and layer == 0)
        wanted = {layer for layer in range(len(self.rids)) if self._is_wanted(layer, now, needs)}
        if not wanted or (not needs and 0 in self.on):
            # A picture that nobody looks at comes back at once, as the smallest.
            wanted.add(0)
        hurried = self._at_once and max(self.on) > self.top
        if wanted != self.on and (hurried or now - self.changed >= APART):
            for layer in wanted - self.on:
                self._since[layer] = self.grown = now
            self.on, self.changed = frozenset(wanted), now

    def rest(self, now: float) -> None:
        """Lets time pass without counting it."""
        self._needed = [now if layer in self.on else at for layer, at in enumerate(self._needed)]

    def _is_wanted(self, layer: int, now: float, needs: Mapping[int, int | None]) -> bool:
        recently = layer in self.on and now - self._needed[layer] < OFF_AFTER
        return self._is_allowed(layer, now) and (layer in needs or recently)

    def _is_allowed(self, layer: int, now: float) -> bool:
        return layer == 0 or (layer <= self.top and now >= self._barred[layer][0])

    def _watch(self, now: float, rates: Mapping[int, float] | None) -> None:
        """Notes what comes, and bars what should and doesn't."""
        self.coming_since = _since(self.coming_since, bool(rates), now)
        if not rates:
            return
        for layer in self.on:
            if layer in rates:
                self._since[layer] = now
                self._barred[layer] = (-math.inf, BARRED)
            elif self._is_allowed(layer, now) and now - self._since_when(layer) >= MISSING_AFTER:
                _, hold = self._barred[layer]
                self._barred[layer] = (now + hold, min(2 * hold, LONGEST_BARRED))

    def _since_when(self, layer: int) -> float:
        return max(self._since[layer], self.coming_since or -math.inf)

    def may_come(self, layer: int, now: float, within: float) -> bool:
        """See `Publishing.may_come`."""
        if layer >= len(self.rids) or not self._is_allowed(layer, now):
            return False
        return layer not in self.on or now - self._since_when(layer) < within

    @property
    def reducible(self) -> bool:
        """Whether more than the lowest layer is on, or a lone encoding is larger than that would be."""
        return max(self.on) > 0 or (self.rids == (None,) and self.asked(0) > self.profile.lowest.bitrate)

    @property
    def waits(self) -> bool:
        """Whether it is on with more than the way up bears, because layers changed a moment ago."""
        return max(self.on) > self.top

    def asked(self, layer: int) -> int:
        """bit/s that a layer is asked to take at most."""
        asked = self._rates[layer].asked
        return asked if layer > 0 or self._cap is None else min(asked, self._cap)

    def is_short(self, now: float, rates: Mapping[int, float], round_trip: float) -> bool:
        """Whether much less comes than was asked for, of something that had the time to."""
        if self.coming_since is None:
            return False
        if now - max(self.coming_since, self.grown) < SETTLED + SETTLED_TRIPS * round_trip:
            return False
        top = max(self.on)
        return rates.get(top, 0.0) < (SHORT if self.reducible else SHORT_LOWEST) * self.asked(top)

    def encodings(self) -> list[dict[str, Any]]:
        """All its encodings as they should be."""
        share = self.asked(0) / self.profile.lowest.bitrate
        self._shrunk = share < (LARGE_FROM if self._shrunk else SMALLER_BELOW)
        return [
            self.profile.encoding(rid, self._shape(rid, number), active=number in self.on, bitrate=self.asked(number))
            for number, rid in enumerate(self.rids)
        ]

    def _shape(self, rid: str | None, number: int) -> Layer:
        lowest = self.profile.lowest
        shape = lowest if rid is None and self.asked(number) <= lowest.bitrate else self.profile.layer(rid)
        if number > 0 or not self._shrunk:
            return shape
        return Layer(round(shape.scale * SMALLER_BY, 3), shape.bitrate)


class _Relief:
    """How much a publisher is spared.

    Attributes:
        step: `ALL` to `SOUND`; network: whether that is for its network, not its encoder.
    """

    def __init__(self) -> None:
        self.step = ALL
        self.network = False
        self._troubled_since: float | None = None
        self._slow_since: float | None = None
        self._calm_since: float | None = None
        self._raised: float | None = None  # while it may still fail
        self._hold = CALM_FOR

    def update(self, now: float, uplink: UplinkState, camera: _Source, screen: _Source) -> int:
        """The step from `now` on."""
        if uplink.stuck and self.step == ALL and camera.reducible:
            self._lower(LOWEST)
            self.network = True
            return self.step
        if camera.waits:
            # What the last step brings shows only once it is taken.
            self._troubled_since = self._slow_since = self._calm_since = None
            return self.step
        narrow = uplink.limitation == "bandwidth" and camera.is_short(now, uplink.rates, uplink.round_trip)
        slow = uplink.limitation == "cpu"
        self._troubled_since = _since(self._troubled_since, uplink.loss > LOSSY or narrow, now)
        self._slow_since = _since(self._slow_since, slow and camera.reducible, now)
        self._calm_since = _since(self._calm_since, not (uplink.loss > CALM_LOSS or narrow or slow), now)
        if self._raised is not None and now - self._raised >= FAILED_WITHIN:
            self._raised, self._hold = None, CALM_FOR
        if _lasts(self._troubled_since, TROUBLE_FOR if camera.reducible else STILL_FOR, now):
            self._lower(self._next(camera, screen))
            self.network = True
        elif self.step == ALL and _lasts(self._slow_since, SLOW_FOR, now):
            self._lower(LOWEST)
            self.network = False
        elif self.step > ALL and _lasts(self._calm_since, self._hold, now):
            self.step -= 1
            self._raised, self._calm_since = now, None
        return self.step

    def _next(self, camera: _Source, screen: _Source) -> int:
        """The first further step that makes a difference."""
        if self.step < LOWEST and camera.reducible:
            return LOWEST
        if self.step < SMALLER and (
            camera.asked(0) > CAPS[SMALLER] or (screen.coming_since is not None and screen.reducible)
        ):
            return SMALLER
        return SMALLEST if self.step < SMALLEST and camera.asked(0) > CAPS[SMALLEST] else SOUND

    def _lower(self, step: int) -> None:
        self.step = step
        self._troubled_since = self._slow_since = self._calm_since = None
        if self._raised is not None:
            self._hold = min(2 * self._hold, LONGEST_CALM)
            self._raised = None


def _lowest_scale(asked: dict[str, Any]) -> float:
    scale: float = asked["camera"]["encodings"][0]["scaleResolutionDownBy"]
    return scale


def _lasts(since: float | None, seconds: float, now: float) -> bool:
    return since is not None and now - since >= seconds


def _since(since: float | None, so: bool, now: float) -> float | None:
    """Since when something is so without a break; None while it isn't."""
    if not so:
        return None
    return now if since is None else since
