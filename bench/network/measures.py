"""From what a visit left behind to its figures: pure, so that a recording can be judged again."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ...sfu.allocation import LEAST_USEFUL
from ...sfu.peer import on_wire
from ...sfu.send import CAMERA
from .cases import FREE, Case
from .visit import Recording

NAN = float("nan")
# Of each turn this much is left out: the room has to notice first who speaks.
NOTICED = 1.5


@dataclass(frozen=True)
class Interval:
    """One slot between two samples of a page that belong to the same connection.

    Attributes:
        start, end: seconds since the epoch.
        participant: whom the slot shows; its counters `before` and `after`.
        paused: whether it was announced as paused at either end.
    """

    start: float
    end: float
    participant: str
    paused: bool
    before: Mapping[str, Any]
    after: Mapping[str, Any]

    @property
    def seconds(self) -> float:
        return self.end - self.start

    def grown(self, counter: str) -> float:
        """How much a counter grew; never less than 0."""
        return max(0.0, float(self.after[counter]) - float(self.before.get(counter, 0)))


NOTHING: Mapping[str, Any] = {}


def intervals(page: Mapping[str, Any], source: str, start: float, end: float) -> Iterator[Interval]:
    """Every slot of `source` ("camera" or "microphone") in each interval between two samples within a time."""
    samples = [sample for sample in page["samples"] if start <= sample["at"] <= end]
    for before, after in itertools.pairwise(samples):
        # A new connection's counters begin with nothing.
        past = before["in"] if before["connection"] == after["connection"] else NOTHING
        paused = {(slot["participant"], slot["source"]) for slot in before["slots"] if slot["paused"]}
        held = {(slot["participant"], slot["mid"]) for slot in before["slots"]}
        for slot in after["slots"]:
            if slot["source"] != source or (slot["participant"], slot["mid"]) not in held:
                continue
            counters = after["in"].get(slot["mid"])
            if counters is None:
                counters = {"frames": 0, "packets": 0, "samples": 0, "concealed": 0, "silent": 0, "received": 0}
                counters |= {"height": 0, "bytes": 0, "nacks": 0, "energy": 0, "lost": 0}
            announced = slot["paused"] or (slot["participant"], source) in paused
            yield Interval(
                before["at"], after["at"], slot["participant"], announced, past.get(slot["mid"], NOTHING), counters
            )


def concealed(sounds: Sequence[Interval]) -> float:
    """Per cent of sound that was made up for what didn't come."""
    samples = sum(one.grown("samples") for one in sounds)
    made_up = sum(one.grown("concealed") - one.grown("silent") for one in sounds)
    return 100 * max(0.0, made_up) / samples if samples else NAN


def frozen(pictures: Sequence[Interval]) -> float:
    """Per cent of the time without a new frame, in slots that are not announced as paused."""
    shown = [one for one in pictures if not one.paused]
    total = sum(one.seconds for one in shown)
    return 100 * sum(one.seconds for one in shown if not one.grown("frames")) / total if total else 0.0


def frame_rate(pictures: Sequence[Interval]) -> float:
    """Frames per second in slots that are not announced as paused."""
    shown = [one for one in pictures if not one.paused]
    total = sum(one.seconds for one in shown)
    return sum(one.grown("frames") for one in shown) / total if total else 0.0


def camera_rate(pages: Sequence[Mapping[str, Any]], start: float, end: float) -> float:
    """Frames per second that these people's cameras gave: what is missing there, no network has lost."""
    grown = seconds = 0.0
    for page in pages:
        samples = [sample for sample in page["samples"] if start <= sample["at"] <= end]
        for before, after in itertools.pairwise(samples):
            if before["connection"] == after["connection"]:  # else it counts anew
                grown += max(0, after["taken"] - before["taken"])
                seconds += after["at"] - before["at"]
    return grown / seconds if seconds else NAN


def speakers_rate(pictures: Sequence[Interval], recording: Recording) -> float:
    """Frames per second of who speaks; while that one is paused, none."""
    spoken = [
        one
        for one in pictures
        if one.participant == recording.speaker(one.start - NOTICED) == recording.speaker(one.end)
    ]
    total = sum(one.seconds for one in spoken)
    return sum(one.grown("frames") for one in spoken) / total if total else NAN


def layer_changes(pictures: Sequence[Interval]) -> float:
    """How often the size of a picture changes, each minute and slot."""
    changes = sum(0 < one.before.get("height", 0) != one.after["height"] > 0 for one in pictures)
    total = sum(one.seconds for one in pictures)
    return 60 * changes / total if total else NAN


def next_step(pictures: Sequence[Interval]) -> float:
    """kbit/s on the wire that the cheapest further step takes of what desktops are asked to send.

    A paused picture takes the least that is worth its place; one that is shown smaller than its layer is declared, the
    rest of that; any other, what the next layer takes more; 1 at least, where one that is small takes all of its rate
    already. NaN where everything is shown as large as it can be.
    """
    steps: list[float] = []
    for participant in {one.participant for one in pictures}:
        seen = [one for one in pictures if one.participant == participant]
        shown = [one for one in seen if not one.paused]
        if 2 * len(shown) < len(seen):
            steps.append(LEAST_USEFUL)
            continue
        rate = on_wire(8 * sum(one.grown("bytes") for one in shown) / sum(one.seconds for one in shown))
        height = shown[-1].after["height"]
        layers = [layer for layer in CAMERA.layers.values() if CAMERA.height / layer.scale > height]
        steps += [max(on_wire(layer.bitrate) - rate, 1_000) for layer in layers[:1]]
    return min(steps, default=NAN) / 1000


def longest(some: Sequence[Interval], counter: str) -> float:
    """The longest time, in seconds, in which a counter stood still in some slot, pauses left out."""
    worst = 0.0
    for participant in {one.participant for one in some}:
        still = 0.0
        for one in some:
            if one.participant == participant:
                still = 0.0 if one.paused or one.grown(counter) else still + one.seconds
                worst = max(worst, still)
    return worst


def gap(sounds: Sequence[Interval]) -> float:
    """The longest time, in seconds, in which no packet of sound came in any slot: who is silent sends few."""
    worst = still = 0.0
    for _, group in itertools.groupby(sounds, key=lambda one: one.start):
        together = list(group)
        still = 0.0 if any(one.grown("packets") for one in together) else still + together[0].seconds
        worst = max(worst, still)
    return worst


def heard_near(recording: Recording, start: float, end: float) -> list[Interval]:
    """The sound of those who share no link with the phone, as they hear each other: what their machine makes of it."""
    return [
        one
        for me in recording.others
        for one in intervals(recording.pages.get(me, {"samples": []}), "microphone", start, end)
        if one.participant in recording.others
    ]


def times_sent(sounds: Sequence[Interval], near: Sequence[Interval]) -> float:
    """How many times as many bytes of sound reach the phone as others get of the same people: with RED two or more."""
    heard = sum(one.grown("bytes") for one in near)
    return sum(one.grown("bytes") for one in sounds) / heard if heard else NAN


def _at(page: Mapping[str, Any], source: str, when: float) -> dict[str, int]:
    """Each slot's height at the last sample before a time, by participant."""
    past = [sample for sample in page["samples"] if sample["at"] <= when]
    slots = past[-1]["slots"] if past else []
    return {
        slot["participant"]: past[-1]["in"].get(slot["mid"], {}).get("height", 0)
        for slot in slots
        if slot["source"] == source
    }


def until_all(pictures: Sequence[Interval], wanted: Mapping[str, int], since: float) -> float:
    """Seconds from `since` until every picture in `wanted` moves and is that tall; all the time there was if not."""
    reached: dict[str, float] = {}
    for one in pictures:
        tall = one.after["height"] >= wanted.get(one.participant, 1 << 30)
        if one.end > since and not one.paused and one.grown("frames") and tall:
            reached.setdefault(one.participant, one.end - since)
    if all(participant in reached for participant in wanted):
        return max(reached.values(), default=NAN)
    return pictures[-1].end - since if pictures else NAN


def sound_back(sounds: Sequence[Interval], since: float) -> float:
    """Seconds from `since` until sound comes; all the time there was if it doesn't."""
    for one in sounds:
        if one.end > since and one.grown("packets") and one.grown("energy"):
            return one.end - since
    return sounds[-1].end - since if sounds else NAN


def link_figures(lines: Sequence[Mapping[str, Any]], way: str) -> dict[str, float]:
    """What the link says of one way: mean queueing delay, what it lost, how much of it was used and was left."""
    total = {
        name: sum(line[way][name] for line in lines)
        for name in ("packets", "bytes", "sent_packets", "sent_bytes", "lost_queue", "lost_air", "waited")
    }
    if len(lines) < 2 or not total["sent_packets"]:
        return {}
    # Each line counts what happened since the line before it.
    seconds = (lines[-1]["at"] - lines[0]["at"]) * len(lines) / (len(lines) - 1)
    rate = 8 * total["sent_bytes"] / seconds / 1000
    found = {
        "queue ms": 1000 * total["waited"] / total["sent_packets"],
        "lost in queue %": 100 * total["lost_queue"] / total["packets"],
        "lost in air %": 100 * total["lost_air"] / total["sent_packets"],
        "kbit/s": rate,
    }
    capacities = [line[way]["capacity"] for line in lines]
    if None not in capacities and (capacity := sum(capacities)):
        found |= {"used %": 100 * 8 * total["sent_bytes"] / capacity, "free kbit/s": capacity / seconds / 1000 - rate}
    return found


def figures(case: Case, recording: Recording) -> dict[str, float]:
    """All figures of one run by name; those that don't apply are missing."""
    marks, phone = recording.marks, recording.phone
    if not case.seconds:
        drawn = recording.pages[phone]["firstPicture"] or marks["end"]
        return {"first picture s": drawn - marks["admitting"]}
    start, end = marks["begin"], marks["begin"] + case.counted
    views, seen = (recording.others, [phone]) if case.others else ([phone], recording.others)
    pictures = [one for view in views for one in intervals(recording.pages[view], "camera", start, end)]
    sounds = [one for view in views for one in intervals(recording.pages[view], "microphone", start, end)]
    if case.others:
        pictures = [one for one in pictures if one.participant == phone]
        sounds = [one for one in sounds if one.participant == phone]
    seconds = sum(one.seconds for one in pictures)
    minutes = max(1e-3, seconds / 60)
    near = heard_near(recording, start, end)
    way = link_figures([line for line in recording.link if start <= line["at"] <= end], "up" if case.others else "down")
    step = NAN if case.others else next_step(pictures)
    found = {
        "concealed %": concealed(sounds),
        "concealed near %": concealed(near),
        "frozen %": frozen(pictures),
        "paused %": 100 * sum(one.seconds for one in pictures if one.paused) / seconds if seconds else NAN,
        "fps": frame_rate(pictures),
        "cameras' fps": camera_rate([page for one, page in recording.pages.items() if one in seen], start, end),
        "fps of who speaks": NAN if case.others else speakers_rate(pictures, recording),
        "height": statistics.fmean([one.after["height"] for one in pictures] or [NAN]),
        "layer changes/min": layer_changes(pictures),
        "sound sent, times": NAN if case.others else times_sent(sounds, near),
        "nacks/min": sum(one.grown("nacks") for one in (*pictures, *sounds)) / minutes,
        **way,
        "next step kbit/s": step,
        FREE: way.get("free kbit/s", NAN) / step,
        "load %": 100 * recording.load,
        "lab's load %": 100 * recording.lab,
        "phone's cores": recording.phone_cores,
        "held back %": 100 * recording.held,
    }
    found |= _after(case, recording, pictures)
    return {name: value for name, value in found.items() if value == value}


def _after(case: Case, recording: Recording, pictures: Sequence[Interval]) -> Iterator[tuple[str, float]]:
    """The figures of the case's own moments."""
    marks, phone, end = recording.marks, recording.pages[recording.phone], recording.marks["end"]
    if (fall := marks.get("fall")) is not None:
        yield "standstill s", longest([one for one in pictures if fall <= one.end <= fall + 10], "frames")
    if (back := marks.get("back")) is not None:
        later = list(intervals(phone, "camera", back, end))
        before = _at(phone, "camera", marks.get("fall", marks["begin"]))
        yield "picture back s", until_all(later, dict.fromkeys(before, 1), back)
        yield "former layer s", until_all(later, before, back)
    if (cut := marks.get("cut")) is not None:
        ways = _both_ways(recording, cut - 0.5, end)
        yield "gap s", max(gap(sounds) for sounds, _ in ways)
        yield "standstill s", max(longest(seen, "frames") for _, seen in ways)
    if (mended := marks.get("mended")) is not None:
        yield "sound back s", max(sound_back(sounds, mended) for sounds, _ in _both_ways(recording, mended - 1, end))
    if case.name == "half-core":
        late = [one for one in pictures if one.start >= marks["begin"] + 10]
        came = sum(one.grown("received") for one in late)
        yield "decoded % after 10 s", 100 * sum(one.grown("frames") for one in late) / came if came else NAN


def _both_ways(recording: Recording, start: float, end: float) -> list[tuple[list[Interval], list[Interval]]]:
    """Sounds and pictures of the others on the phone, and of the phone on each of the others' pages."""
    ways = []
    for me, page in recording.pages.items():
        both = []
        for source in ("microphone", "camera"):
            found = intervals(page, source, start, end)
            both.append([one for one in found if me == recording.phone or one.participant == recording.phone])
        ways.append((both[0], both[1]))
    return ways
