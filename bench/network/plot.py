"""A run as a picture: rate against capacity, layers, frames, queueing delay, freezes and sound over time."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .cases import Case
from .measures import Interval, intervals
from .visit import Recording

COLOURS = ("#1b6ca8", "#c77d1e", "#5a8f3d")
GREY, RED = "#b9c4cc", "#a33"
SMOOTH = 5  # counts of 100 ms that are drawn as one


def plot(case: Case, recording: Recording, measured: Mapping[str, float], path: Path) -> None:
    """Draws a run into a PNG; times are seconds since the case began."""
    begin = recording.marks.get("begin", recording.marks["admitting"])
    figure = Figure(figsize=(10, 11), layout="constrained")
    rate, layer, frames, queue, sound = figure.subplots(5, sharex=True)
    _link(rate, queue, recording, "up" if case.others else "down", begin)
    names = dict(zip(recording.people, ("the host", "the phone", "the third"), strict=False))
    views = recording.others[:1] if case.others else [recording.phone]
    end = recording.marks["end"]
    for view in views:
        page = recording.pages[view]
        pictures = list(intervals(page, "camera", begin - case.settle, end))
        sounds = list(intervals(page, "microphone", begin - case.settle, end))
        for one, colour in zip(recording.people, COLOURS, strict=False):
            _picture(layer, frames, [each for each in pictures if each.participant == one], begin, colour, names[one])
            _sound(sound, [each for each in sounds if each.participant == one], begin, colour, names[one])
    for axes in (rate, layer, frames, queue, sound):
        for name, at in recording.marks.items():
            if name in ("fall", "back", "cut", "mended"):
                axes.axvline(at - begin, color=RED, linestyle=":")
        axes.axvline(0, color=GREY)
    for axes, label in (
        (rate, "kbit/s"),
        (layer, "height, lines"),
        (frames, "frames/s"),
        (queue, "queueing delay, ms"),
        (sound, "concealed, %"),
    ):
        axes.set_ylabel(label)
        axes.set_ylim(bottom=0)
    layer.legend(loc="lower right", fontsize="small")
    rate.legend(loc="upper right", fontsize="small")
    sound.set_xlabel("seconds since the case began")
    values = [(bound, measured.get(bound.figure, float("nan"))) for bound in case.bounds]
    said = ", ".join(f"{bound.figure} {value:.3g} ({bound})" for bound, value in values)
    figure.suptitle(f"{case.name}: {said}\nload {measured.get('load %', 0):.0f} %", fontsize="medium")
    figure.savefig(path, dpi=100)


def _link(rate: Axes, queue: Axes, recording: Recording, way: str, begin: float) -> None:
    times, capacity, sent, offered, waited = [], [], [], [], []
    for first in range(0, len(recording.link) - SMOOTH, SMOOTH):
        lines = [line[way] for line in recording.link[first : first + SMOOTH]]
        span = recording.link[first + SMOOTH]["at"] - recording.link[first]["at"]
        if span <= 0:
            continue
        times.append(recording.link[first]["at"] - begin)
        known = [line["capacity"] for line in lines if line["capacity"] is not None]
        capacity.append(sum(known) / span / 1000 if len(known) == len(lines) else float("nan"))
        sent.append(8 * sum(line["sent_bytes"] for line in lines) / span / 1000)
        offered.append(8 * sum(line["bytes"] for line in lines) / span / 1000)
        packets = sum(line["sent_packets"] for line in lines)
        waited.append(1000 * sum(line["waited"] for line in lines) / packets if packets else 0.0)
    rate.plot(times, capacity, color=GREY, linewidth=2, label="capacity", drawstyle="steps-post")
    rate.plot(times, offered, color=RED, linewidth=0.8, label="offered")
    rate.plot(times, sent, color=COLOURS[0], label="sent")
    queue.plot(times, waited, color=COLOURS[0])


def _picture(layer: Axes, frames: Axes, some: list[Interval], begin: float, colour: str, name: str) -> None:
    times = [one.end - begin for one in some]
    layer.plot(times, [one.after["height"] for one in some], color=colour, label=name, drawstyle="steps-pre")
    frames.plot(times, [one.grown("frames") / one.seconds for one in some], color=colour, drawstyle="steps-pre")
    for one in some:
        if one.paused:
            layer.axvspan(one.start - begin, one.end - begin, color=colour, alpha=0.15, linewidth=0)
        elif not one.grown("frames"):
            frames.axvspan(one.start - begin, one.end - begin, color=RED, alpha=0.25, linewidth=0)


def _sound(axes: Axes, some: list[Interval], begin: float, colour: str, name: str) -> None:
    values = []
    for one in some:
        samples = one.grown("samples")
        values.append(100 * (one.grown("concealed") - one.grown("silent")) / samples if samples else 0.0)
    axes.plot([one.end - begin for one in some], [max(0.0, value) for value in values], color=colour, label=name)
