"""The layers of one camera or screen: which are asked for, and with how much, by what is needed and what comes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from .send import Layer, Profile
from .spans import lasts, since

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

# What is limited by bandwidth and comes with less than these shares of what was asked for, is in trouble: above the
# lowest layer half of the bits make a good picture. (A lone small layer is also called limited when its coder is.)
SHORT, SHORT_LOWEST = 0.5, 0.8
# Seconds, and round trips, that a sender's own estimate takes to get to where it could be: until then it is no trouble.
SETTLED, SETTLED_TRIPS = 5.0, 10.0


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
        self._large_since = since(self._large_since, wanted >= large, now)
        if small and not lasts(self._large_since, GROWS_AFTER, now):
            wanted = min(wanted, (large - 1) // STEP * STEP)
        size_stays = math.ceil(SMALLER_BELOW * self.declared)
        lower = wanted < self.asked * (1 - DIFFERS) or wanted < size_stays == self.asked
        self._lower_since = since(self._lower_since, lower, now)
        self._higher_since = since(self._higher_since, wanted > self.asked, now)
        if lasts(self._lower_since, 0.0 if urgent else DOWN_AFTER, now) or lasts(self._higher_since, UP_AFTER, now):
            self.asked = wanted
            self._lower_since = self._higher_since = None
        elif lower:
            self.asked = wanted if self.asked < size_stays else max(wanted, size_stays)


class Layers:
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

    def renewed(self, rids: tuple[str, ...], now: float) -> Layers:
        """The same for a new connection that offers `rids`."""
        fresh = Layers(self.profile, rids, now)
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
        self.coming_since = since(self.coming_since, bool(rates), now)
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
