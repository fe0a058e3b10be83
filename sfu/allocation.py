"""What a viewer is sent of what they wish for, within what the way to them carries: a pure function.

Sound comes first and is reserved with its packets' overhead. Then everyone wished for gets their lowest layer, by
priority, and what is left goes into upgrades, one step at a time. A picture keeps its 20 frames a second and gives up
resolution (EN 301 549 V3.2.1, 6.5.3 and 6.5.2: 20 frames/s and QVGA at least); only where the lowest layer doesn't fit,
its upper temporal layer is left out, and only where that doesn't fit either for a while, the picture is paused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import IntEnum

# A voice on the wire, bit/s: Opus at 24 kbit/s, and IP, UDP, RTP with extensions and SRTP's tag, about 64 bytes, around
# each 20 ms of it, or around 60 ms.
VOICE, JOINED_VOICE = 50_000, 33_000
# Who is silent sends a packet of comfort noise now and then (RFC 6716, section 2.1.9: DTX).
SILENCE = 2_000
# More than so many don't speak at once for long; beside the first, the others' sound takes what pictures leave.
VOICES_AT_ONCE = 2

# An upgrade needs so much more than it will use, for so long, and so long since the slot's last downgrade; after each
# upgrade that failed twice as long, up to a minute, and no other slot's is tried meanwhile.
HEADROOM, HEADROOM_FOR = 1.15, 2.0
HOLD, LONGEST_HOLD = 10.0, 60.0
# An upgrade that is taken back within has failed. Each change costs a key frame of all layers, and everybody who sees
# that publisher half a second of frames.
FAILED_WITHIN = 20.0
# Until an upgrade has been carried for so long, no other slot's is tried: what fails then fails once.
TRIED_FOR = 1.5
# Where the lowest layers don't fit, frames go after so long: for a moment the pacer leaves them out by itself, and who
# sends them makes them smaller.
FRAMES_AFTER = 1.5
# A picture is paused when it has not fitted for so long; longer while its publisher may still make it smaller.
PAUSE_AFTER, PAUSE_AFTER_ASKING = 2.0, 5.0
# Of that so much may have passed when the way is first seen to be full; in a deeper queue more waits, but the target is
# right only after a while.
WAITED = 0.5
# Frames, and paused pictures, come back with less headroom and sooner: they are missed more than sharpness.
RESUME_HEADROOM, RESUME_FOR, RESUME_HOLD, LONGEST_RESUME, RESUMED_WITHIN = 1.05, 0.5, 3.0, 6.0, 5.0
# Frames cost no key frame when they come back.
FRAMES_HOLD = 1.0
# Who speaks takes the place of somebody who doesn't: not more often than so.
SWAP_AFTER = 3.0
# Below so much on the wire a picture isn't worth its place, and above so much per picture none needs to be paused.
LEAST_USEFUL = 65_000
# Who goes down to the lowest layer in steps does so within so many seconds.
FALLS_WITHIN = 3.0
# Of the room there is, what is shared out: a way that is full takes 15 % of the target once and again, and what was
# shared out should fit then too. Resuming takes room to spare as well.
SHARED = 0.82
# Right after a fall the target is lower than the way: with so many times the room as many are kept in view as fit.
HOPED = 1.1
# Plain sound has to fit with so much to spare, for so long, before joined packets end.
PLAIN_HEADROOM, PLAIN_FOR = 1.3, 5.0
# Plain sound leaves a picture so much, or is joined: one that just fits would fall with the next swing of the way.
PICTURE_BESIDE = 1.3 * LEAST_USEFUL


# Index of the option that is the lowest layer with all its frames, where it can be had with fewer.
LOWEST = 1


class Priority(IntEnum):
    """Whose picture comes first; the smaller the sooner."""

    CHOSEN = 0  # pinned by the viewer, or a sign-language interpreter: their picture is what is listened to
    ACTIVE = 1  # who speaks, or a shared screen
    OTHER = 2


class Sound(IntEnum):
    """How much of sound fits."""

    PLAIN = 0
    JOINED = 1  # in packets of 60 ms, pauses dropped
    SPEAKERS = 2  # as JOINED, and of those who speak at once only as many as fit


@dataclass(frozen=True)
class Option:
    """A way of showing a picture.

    Attributes:
        layer: spatial; temporal: the highest temporal layer, 255 for all.
        rate: bit/s on the wire.
        alive: whether it is being sent to us; what isn't can be wished for, but not shown.
    """

    layer: int
    temporal: int
    rate: float
    alive: bool = True


@dataclass(frozen=True)
class Want:
    """A picture that is on the viewer's screen.

    Attributes:
        slot: the engine's number.
        who: whose picture of which kind; another one in the same slot begins anew.
        options: the cheapest first: the lowest layer without its upper temporal layer, the lowest layer, and what is
            above it up to what is wished. Empty where nothing comes.
        lowest: bit/s on the wire of the lowest layer, as large as its publisher sends it when nobody asks for less.
        off: nothing comes of it just now, as of a camera that is off: costs nothing, and counts for nothing.
    """

    slot: int
    who: tuple[int, int]
    priority: Priority
    options: tuple[Option, ...]
    lowest: float = 0.0
    off: bool = False


@dataclass(frozen=True)
class Past:
    """What is remembered of a slot.

    Attributes:
        level: index of the option that is shown; -1: none.
        since: when it got there.
        raised: when it last went up; lowered: when it last went down; hold: from then on, before it may go up again.
        roomy_since: since when the next option has had headroom; None while it hasn't.
        paused: whether people have been told so.
    """

    who: tuple[int, int]
    level: int = -1
    since: float = 0.0
    raised: float = float("-inf")
    lowered: float = float("-inf")
    hold: float = HOLD
    roomy_since: float | None = None
    paused: bool = False


@dataclass(frozen=True)
class Allocation:
    """What one viewer is sent.

    Attributes:
        slots: by slot.
        sound: how much of it fits; voices: how many who speak at once.
        used: bit/s on the wire, sound included; wished: what everything wished for would take.
        shares: by slot, bit/s on the wire that there would be for a picture, shown or not, where their lowest layers,
            as large as they are declared, don't fit. Who sends it may send less. Empty where all fit.
        beyond: slots with pictures that the device doesn't show, because it shows as many as it can.
        tight_since: since when the lowest layers have not fitted; roomy_sound_since: since when plain sound has.
        swapped: when a speaker last took another's place.
    """

    slots: Mapping[int, Past] = field(default_factory=dict)
    sound: Sound = Sound.PLAIN
    voices: int = VOICES_AT_ONCE
    used: float = 0.0
    wished: float = 0.0
    shares: Mapping[int, float] = field(default_factory=dict)
    beyond: frozenset[int] = frozenset()
    tight_since: float | None = None
    roomy_sound_since: float | None = None
    swapped: float = float("-inf")

    @property
    def content(self) -> bool:
        """Whether everything wished for is shown."""
        return self.wished <= self.used

    @property
    def shows(self) -> bool:
        """Whether any picture is shown."""
        return any(past.level >= 0 for past in self.slots.values())

    def had_more(self, now: float) -> bool:
        """Whether somebody is shown larger than in the lowest layer, or was a moment ago.

        Not so of who has just come: they have little room only until the first probes are answered.
        """
        return any(past.level > LOWEST or now - past.lowered < FALLS_WITHIN for past in self.slots.values())


NOTHING = Allocation()


def allocate(
    now: float,
    target: float,
    others: int,
    wants: Sequence[Want],
    before: Allocation,
    *,
    speaking: int = VOICES_AT_ONCE,
    pictures: int = 64,
    queue: float = 0.0,
) -> Allocation:
    """The next allocation of one viewer.

    Args:
        now: seconds.
        target: bit/s that may be sent to the viewer, on the wire.
        others: people who may be heard.
        wants: pictures on screen, in the order of their slots.
        before: the former allocation; `NOTHING` at first.
        speaking: how many of the others speak at the same time; room is kept for one at least.
        pictures: how many the viewer's device shows at once.
        queue: how long, in seconds, what arrived last has waited on the way.

    Returns:
        The allocation from now on. Over the same arguments it is always the same.
    """
    speaking = max(1, min(speaking, VOICES_AT_ONCE))
    sound, roomy_sound_since = _sound(now, target, others, speaking, wants, before)
    voices = _voices(target, others, sound, speaking)
    reserved = sound_rate(others, sound, voices)
    ranked = sorted((want for want in wants if not want.off and want.options), key=lambda want: want.priority)
    plan = _Plan(now, target - reserved, ranked[:pictures], before)
    plan.fit(queue)
    plan.swap()
    plan.upgrade()
    slots = dict(plan.slots)
    for want in wants:
        if want.slot not in slots:
            # Beyond what the device can show, or off: where it is on again, it begins at the lowest.
            shown = _lowest(want) if want.off and want.options else -1
            slots[want.slot] = Past(want.who, shown, now, paused=not want.off and bool(want.options))
    best = sum(want.options[-1].rate for want in plan.wants)
    plain = sound_rate(others, Sound.PLAIN, speaking)
    return Allocation(
        slots,
        sound,
        voices,
        used=reserved + plan.used,
        wished=max(reserved + plan.used, plain + best) if plan.wants else reserved,
        shares=plan.shares,
        beyond=frozenset(want.slot for want in ranked[pictures:]),
        tight_since=plan.tight_since,
        roomy_sound_since=roomy_sound_since,
        swapped=plan.swapped,
    )


def sound_rate(others: int, sound: Sound, voices: int = VOICES_AT_ONCE) -> float:
    """bit/s on the wire that are kept for the sound of so many people."""
    speaking = min(others, voices)
    if sound == Sound.PLAIN:
        return speaking * VOICE + (others - speaking) * SILENCE
    return speaking * JOINED_VOICE


def _sound(
    now: float, target: float, others: int, speaking: int, wants: Sequence[Want], before: Allocation
) -> tuple[Sound, float | None]:
    """Joined where plain sound leaves no room for the most important picture, or doesn't fit itself."""
    visible = [want for want in wants if not want.off and want.options]
    needed = sound_rate(others, Sound.PLAIN, speaking) + (PICTURE_BESIDE if visible else 0)
    if target < sound_rate(others, Sound.JOINED, speaking):
        return Sound.SPEAKERS, None
    if target < needed:
        return Sound.JOINED, None
    if before.sound == Sound.PLAIN:
        return Sound.PLAIN, None
    if target < needed * PLAIN_HEADROOM:
        return Sound.JOINED, None
    since = now if before.roomy_sound_since is None else before.roomy_sound_since
    return (Sound.PLAIN, None) if now - since >= PLAIN_FOR else (Sound.JOINED, since)


def _voices(target: float, others: int, sound: Sound, speaking: int) -> int:
    if sound != Sound.SPEAKERS:
        return min(others, speaking)
    return max(1, min(others, int(target // JOINED_VOICE)))


class _Plan:
    """One allocation in the making: levels of the pictures that count, the most important first."""

    def __init__(self, now: float, room: float, wants: Sequence[Want], before: Allocation) -> None:
        self.now = now
        self.room = room
        self.wants = wants
        self.swapped = before.swapped
        self.slots: dict[int, Past] = {}
        for want in wants:
            past = before.slots.get(want.slot)
            if past is None or past.who != want.who:
                past = Past(want.who, since=now)
            level = min(past.level, len(want.options) - 1)
            while level > 0 and not want.options[level].alive:
                level -= 1
            self.slots[want.slot] = replace(past, level=level)
        self.shares = self._shares()
        self.tight_since = before.tight_since

    @property
    def used(self) -> float:
        return sum(self._rate(want) for want in self.wants)

    @property
    def _shown(self) -> int:
        return sum(self.slots[want.slot].level >= 0 for want in self.wants)

    def _rate(self, want: Want) -> float:
        level = self.slots[want.slot].level
        return want.options[level].rate if level >= 0 else 0.0

    def _shares(self) -> dict[int, float]:
        if sum(want.lowest for want in self.wants) <= self.room:
            return {}
        shown = max(1, min(len(self.wants), int(HOPED * self.room // LEAST_USEFUL)))
        share = max(SHARED * self.room / shown, LEAST_USEFUL)
        # Of those without a place too: whoever speaks next takes it, and a paused picture comes back as small as this.
        return {want.slot: share for want in self.wants}

    def fit(self, queue: float) -> None:
        """Takes away what doesn't fit, from the least important first: resolution, then frames, then the picture."""
        for want in reversed(self.wants):
            while self.used > self.room and self.slots[want.slot].level > _lowest(want):
                self._lower(want, self.slots[want.slot].level - 1)
        if self.used <= self.room and not self._crowded(0, HOPED):
            if all(self.slots[want.slot].level >= _lowest(want) for want in self.wants):
                self.tight_since = None
            return
        if self.tight_since is None:
            # What arrived last waited: for so long, at least, the way has been full before anybody could know.
            self.tight_since = self.now - min(queue, WAITED)
        since = self.tight_since
        if self.now - since >= FRAMES_AFTER:
            for want in reversed(self.wants):
                if self.used > self.room and self.slots[want.slot].level == _lowest(want) > 0:
                    self._lower(want, 0)
        hopeless = self._shown * LEAST_USEFUL > HOPED * self.room
        patience = PAUSE_AFTER if hopeless else PAUSE_AFTER_ASKING
        if self.now - since < patience:
            return
        for want in reversed(self.wants):
            if (self.used > self.room or self._crowded(0, HOPED)) and self.slots[want.slot].level >= 0:
                self._lower(want, -1)

    def _lower(self, want: Want, level: int) -> None:
        past = self.slots[want.slot]
        first, longest, within = HOLD, LONGEST_HOLD, FAILED_WITHIN
        if level < _lowest(want):
            first = RESUME_HOLD if level < 0 else FRAMES_HOLD
            longest, within = LONGEST_RESUME, RESUMED_WITHIN
        former = past.hold if first <= past.hold <= longest else first
        hold = min(2 * former, longest) if self.now - past.raised < within else first
        # A larger picture that failed says nothing of the smallest.
        raised = float("-inf") if level == _lowest(want) else past.raised
        self.slots[want.slot] = Past(want.who, level, self.now, raised, self.now, hold, paused=level < 0)

    def swap(self) -> None:
        """Lets who matters more take the place of who matters less, where both don't fit."""
        for want in self.wants:
            past = self.slots[want.slot]
            if past.level >= 0:
                continue
            less = [other for other in self.wants if other.priority > want.priority and self._rate(other) > 0]
            freed = sum(self._rate(other) for other in less)
            level = next((i for i in (_lowest(want), 0) if self._fits(want.options[i].rate - freed)), None)
            if not less or level is None or self._fits(want.options[level].rate):
                continue
            # A newcomer who speaks need not wait for anybody's turn to end.
            if self.now - self.swapped < SWAP_AFTER and past.paused:
                continue
            for other in reversed(less):
                if not self._fits(want.options[level].rate):
                    self.slots[other.slot] = replace(
                        self.slots[other.slot], level=-1, since=self.now, paused=True, roomy_since=None
                    )
            self.slots[want.slot] = replace(past, level=level, since=self.now, paused=False, roomy_since=None)
            self.swapped = self.now

    def upgrade(self) -> None:
        """Gives the first who has waited for long enough one step more; starts and stops the others' waiting."""
        given = False
        for floor in (True, False):
            for want in self.wants:
                past = self.slots[want.slot]
                if (past.level < _lowest(want)) != floor or (past.since == self.now and past.level >= 0):
                    continue
                given = self._step(want, past, given) or given

    def _step(self, want: Want, past: Past, given: bool) -> bool:
        """Whether the next option of `want` was given."""
        new = past.level < 0 and past.lowered == float("-inf") and not past.paused
        level = past.level + 1 if past.level >= 0 else self._first(want, new)
        if level is None or level >= len(want.options):
            self.slots[want.slot] = replace(past, roomy_since=None, paused=past.paused or self._overdue(past))
            return False
        option = want.options[level]
        resumes = past.level < _lowest(want)
        headroom = 1.0 if new else RESUME_HEADROOM if resumes else HEADROOM
        rest = self.used - self._rate(want)
        if (rest + option.rate) * headroom > self.room or (past.level < 0 and self._crowded(1)):
            self.slots[want.slot] = replace(past, roomy_since=None, paused=past.paused or self._overdue(past))
            return False
        since = self.now if past.roomy_since is None else past.roomy_since
        patience, hold = (RESUME_FOR, past.hold) if resumes else (HEADROOM_FOR, max(past.hold, HOLD))
        waited = new or (self.now - since >= patience and self.now - past.lowered >= hold)
        # What one picture's upgrade has shown of the way holds for the others'.
        waited = waited and (resumes or not (self._failed() or self._tries()))
        if not waited or not option.alive or (given and not new):
            self.slots[want.slot] = replace(past, roomy_since=since)
            return False
        self.slots[want.slot] = replace(
            past, level=level, since=self.now, raised=self.now, roomy_since=None, paused=False
        )
        return True

    def _tries(self) -> bool:
        """Whether some picture is larger since a moment ago, and may still turn out not to fit."""
        pasts = (self.slots[want.slot] for want in self.wants)
        return any(past.level > LOWEST and self.now - past.raised < TRIED_FOR for past in pasts)

    def _failed(self) -> bool:
        """Whether some upgrade failed, and its slot has to wait for longer than after any other downgrade."""
        pasts = (self.slots[want.slot] for want in self.wants)
        return any(past.hold > HOLD and self.now - past.lowered < past.hold for past in pasts)

    def _first(self, want: Want, new: bool) -> int | None:
        """Where a picture that isn't shown begins: at its lowest layer, or with fewer frames of it."""
        if not want.options[0].alive:
            return None
        lowest = _lowest(want)
        return lowest if self._fits(want.options[lowest].rate * (1.0 if new else RESUME_HEADROOM)) else 0

    def _overdue(self, past: Past) -> bool:
        return past.level < 0 and self.now - past.since >= PAUSE_AFTER

    def _crowded(self, more: int, hope: float = 1.0) -> bool:
        """Whether so many more pictures than are shown leave each less than it is worth its place for."""
        shown = more + self._shown
        return bool(self.shares) and shown > 1 and shown * LEAST_USEFUL > hope * self.room

    def _fits(self, more: float) -> bool:
        return self.used + more <= self.room


def _lowest(want: Want) -> int:
    """Index of the lowest layer with all its frames."""
    return LOWEST if len(want.options) > LOWEST and want.options[LOWEST].layer == want.options[0].layer else 0
