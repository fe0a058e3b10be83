"""What a device bears: its class by what the page knows, corrected by what it reports (`config/devices.toml`)."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from enum import StrEnum
from functools import cache
from importlib import resources
from typing import Any, TypeVar

from ..codecs import catalogue
from .types import Device, DeviceStats, Limitation

FILE = "config/devices.toml"

# Steps of resolution, in pixels of the shorter side; below 240 a face isn't worth its packets.
HEIGHTS = (720, 360, 240)
# They cost about twice what VP8 and H.264 do to decode in software.
COSTLY = frozenset({"vp9", "av1"})
# Effective connection types (W3C Network Information API) on which a device gets the limits of the next lower class.
SLOW_NETWORKS = frozenset({"slow-2g", "2g"})


T = TypeVar("T")


class BadTable(Exception):
    """The table of devices can't be used; the message says where, what and what was expected."""


class DeviceClass(StrEnum):
    """The weakest first."""

    LOW = "low"
    MID = "mid"
    HIGH = "high"
    DESKTOP = "desktop"


@dataclass(frozen=True)
class ClassLimits:
    """A table of a class, as the file explains it."""

    pictures: int
    max_height: int
    h264_first: bool


@dataclass(frozen=True)
class ClassBounds:
    """The table `class`."""

    low_memory: float
    low_cores: int
    high_memory: float
    high_cores: int
    weak_memory: float
    weak_cores: int


@dataclass(frozen=True)
class Overload:
    """The table `overload`."""

    dropped: float
    busy: float
    calm_dropped: float
    calm_busy: float
    reports: int
    told_for: float


@dataclass(frozen=True)
class Recovery:
    """The table `recovery`."""

    calm_for: float
    failed_within: float
    longest: float


@dataclass(frozen=True)
class Battery:
    """The table `battery`."""

    low: float
    enough: float


@dataclass(frozen=True)
class Table:
    """`config/devices.toml`."""

    classes: Mapping[DeviceClass, ClassLimits]
    bounds: ClassBounds
    overload: Overload
    recovery: Recovery
    battery: Battery


@cache
def table() -> Table:
    """The table that comes with the server."""
    return read((resources.files(__name__.partition(".")[0]) / FILE).read_text(encoding="utf-8"))


def read(text: str) -> Table:
    """A table from TOML.

    Raises:
        BadTable: it can't be used.
    """
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise BadTable(f"{FILE}: is not TOML: {error}") from None
    known = {*DeviceClass, "class", "overload", "recovery", "battery"}
    for name in values.keys() ^ known:
        raise BadTable(f"{FILE}: {name}: expected the tables {', '.join(sorted(known))}, and no other")
    return Table(
        classes={one: _typed(ClassLimits, one, values[one]) for one in DeviceClass},
        bounds=_typed(ClassBounds, "class", values["class"]),
        overload=_typed(Overload, "overload", values["overload"]),
        recovery=_typed(Recovery, "recovery", values["recovery"]),
        battery=_typed(Battery, "battery", values["battery"]),
    )


def _typed(kind: type[T], name: str, values: Any) -> T:
    expected = {one.name: str(one.type) for one in fields(kind)}  # type: ignore[arg-type]
    if not isinstance(values, dict) or values.keys() != expected.keys():
        raise BadTable(f"{FILE}: {name}: expected a table of {', '.join(expected)}")
    for key, value in values.items():
        whole = isinstance(value, int) and not isinstance(value, bool)
        number = whole or isinstance(value, float)
        fits = {"int": whole, "float": number, "bool": isinstance(value, bool)}[expected[key]]
        if not fits or (number and not value > 0):
            wanted = {"int": "a whole number above 0", "float": "a number above 0", "bool": "true or false"}
            raise BadTable(f"{FILE}: {name}.{key}: {value!r} (expected {wanted[expected[key]]})")
    return kind(**values)


@dataclass(frozen=True)
class Limits:
    """What a device may be sent.

    Attributes:
        pictures: at once; height: pixels of a camera's shorter side.
        avoid: codecs, as in `codecs.catalogue`, that are too much for it where there is another.
        efficient: codecs that it should be sent rather than others, because its hardware decodes them.
    """

    pictures: int
    height: int
    avoid: frozenset[str] = frozenset()
    efficient: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Bounds:
    """What overload has left of a class's limits."""

    pictures: int
    height: int
    hardware_first: bool
    avoid: frozenset[str] = frozenset()


def classify(device: Device) -> DeviceClass:
    """The class of a device by what its page knows; what is missing speaks neither for nor against it."""
    bounds = table().bounds
    memory, cores = device.memory, device.cores
    if device.mobile:
        if _at_most(memory, bounds.low_memory) or _at_most(cores, bounds.low_cores):
            found = DeviceClass.LOW
        elif _at_least(memory, bounds.high_memory) and _at_least(cores, bounds.high_cores):
            found = DeviceClass.HIGH
        else:
            found = DeviceClass.MID
    elif _at_most(memory, bounds.weak_memory) or _at_most(cores, bounds.weak_cores):
        found = DeviceClass.MID
    else:
        found = DeviceClass.DESKTOP
    if not device.save_data and device.network not in SLOW_NETWORKS:
        return found
    rising = list(DeviceClass)
    return rising[max(rising.index(found) - 1, 0)]


def _at_most(value: float | None, bound: float) -> bool:
    return value is not None and value <= bound


def _at_least(value: float | None, bound: float) -> bool:
    return value is not None and value >= bound


class DeviceState:
    """One participant's device over a visit.

    Two overloaded reports in a row take one step: the codec, where a cheaper one can do; then the number of pictures;
    then their resolution. Steps are taken from what is shown, so that each makes a difference, and taken back in the
    opposite order.

    Attributes:
        device: what its page said of it; said_class: the class by that alone.
        limitation: why it sends its camera smaller or slower than asked for, as it last said.
    """

    def __init__(self, device: Device, now: float) -> None:
        self.device = device
        self.said_class = classify(device)
        self.limitation: Limitation | None = None
        limits = table().classes[self.said_class]
        self._bounds = _Bounds(limits.pictures, limits.max_height, limits.h264_first)
        self._steps: list[_Bounds] = []  # what each step was taken from
        self._hardware = _codecs(device.efficient)
        self._overloads = 0  # in a row
        self._overloaded: float | None = None
        self._calm_since: float | None = None
        self._raised: float | None = None  # while it may still fail
        self._hold = table().recovery.calm_for
        self._battery_low = False
        self._now = now

    @property
    def device_class(self) -> DeviceClass:
        """The class that its limits are of now: the highest, up to the one it said, that promises no more."""
        classes = table().classes
        rising = list(DeviceClass)
        fits = [
            one
            for one in rising[: rising.index(self.said_class) + 1]
            if classes[one].pictures <= self._bounds.pictures and classes[one].max_height <= self._bounds.height
        ]
        return fits[-1] if fits else DeviceClass.LOW

    @property
    def limits(self) -> Limits:
        """What it may be sent now."""
        bounds = self._bounds
        height = (_below(bounds.height) or bounds.height) if self._battery_low else bounds.height
        h264 = (one.name for one in catalogue.ANSWERED if one.encoding == "h264" and one.name in self._hardware)
        return Limits(bounds.pictures, height, bounds.avoid, tuple(h264) if bounds.hardware_first else ())

    @property
    def strained(self) -> bool:
        """Whether it was overloaded within the last 10 s before its newest report."""
        return self._overloaded is not None and self._now - self._overloaded < table().overload.told_for

    def report(self, now: float, stats: DeviceStats) -> None:
        """Takes what its page measured since the former report."""
        self._now = now
        self.limitation = stats.limitation
        battery = table().battery
        enough = battery.enough if self._battery_low else battery.low
        self._battery_low = stats.battery is not None and stats.battery < enough
        if stats.decoded <= 0 or stats.seconds <= 0:
            # Nothing to decode proves nothing.
            self._calm_since = None
            return
        bounds, recovery = table().overload, table().recovery
        if self._raised is not None and now - self._raised >= recovery.failed_within:
            self._raised, self._hold = None, recovery.calm_for
        dropped = stats.dropped / stats.decoded
        busy = stats.decoded * (stats.decode_ms or 0.0) / 1000 / stats.seconds
        if dropped > bounds.dropped or busy > bounds.busy:
            self._calm_since = None
            self._overloads += 1
            if self._overloads >= bounds.reports:
                self._overloaded = now
                self._step_down(stats)
            return
        self._overloads = 0
        if dropped > bounds.calm_dropped or busy > bounds.calm_busy:
            self._calm_since = None
            return
        self._calm_since = now if self._calm_since is None else self._calm_since
        if self._steps and now - self._calm_since >= self._hold:
            self._bounds = self._steps.pop()
            self._raised, self._calm_since = now, None

    def _step_down(self, stats: DeviceStats) -> None:
        lower = self._cheaper(stats) or self._fewer(stats) or self._smaller(stats)
        if lower is None:
            return
        self._steps.append(self._bounds)
        self._bounds = lower
        # The next reports tell whether it was enough.
        self._overloads = 0
        if self._raised is not None:
            self._hold = min(2 * self._hold, table().recovery.longest)
            self._raised = None

    def _cheaper(self, stats: DeviceStats) -> _Bounds | None:
        decoded = _codecs(stats.codecs)
        costly = (decoded & COSTLY) - self._hardware - self._bounds.avoid
        hardware = any(catalogue.BY_NAME[name].encoding == "h264" for name in self._hardware)
        first = self._bounds.hardware_first or (hardware and not decoded <= self._hardware)
        if not costly and first == self._bounds.hardware_first:
            return None
        return replace(self._bounds, avoid=self._bounds.avoid | costly, hardware_first=first)

    def _fewer(self, stats: DeviceStats) -> _Bounds | None:
        shown = min(self._bounds.pictures, stats.pictures)
        return replace(self._bounds, pictures=(shown + 1) // 2) if shown > 1 else None

    def _smaller(self, stats: DeviceStats) -> _Bounds | None:
        lower = _below(min(self._bounds.height, stats.height or self._bounds.height))
        return None if lower is None else replace(self._bounds, height=lower)


def _below(height: int) -> int | None:
    return next((one for one in HEIGHTS if one < height), None)


def _codecs(mimes: Iterable[str]) -> frozenset[str]:
    """Names, as in `codecs.catalogue`, of MIME types; those that we don't answer have none."""
    named = {mime.lower() for mime in mimes}
    return frozenset(one.name for one in catalogue.ANSWERED if one.mime.lower() in named)
