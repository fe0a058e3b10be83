"""What devices bear: by what their pages know, and by what they report."""

from __future__ import annotations

from importlib import resources
from typing import Any

import pytest
from vardrum.sfu import devices
from vardrum.sfu.devices import BadTable, DeviceClass, DeviceState, Limits, classify
from vardrum.sfu.types import Device, DeviceStats

LAPTOP = Device(memory=8, cores=8, mobile=False)
CHEAP = Device(memory=2, cores=8, mobile=True)
TEXT = (resources.files("vardrum") / devices.FILE).read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({}, "desktop"),
        ({"mobile": True}, "mid"),
        ({"mobile": True, "memory": 2, "cores": 8}, "low"),
        ({"mobile": True, "memory": 4, "cores": 4}, "low"),
        ({"mobile": True, "memory": 3, "cores": 8}, "mid"),
        ({"mobile": True, "cores": 6}, "mid"),
        ({"mobile": True, "memory": 4, "cores": 8}, "high"),
        ({"mobile": True, "memory": 8, "cores": 8, "save_data": True}, "mid"),
        ({"mobile": True, "memory": 8, "cores": 8, "network": "2g"}, "mid"),
        ({"mobile": True, "memory": 8, "cores": 8, "network": "4g"}, "high"),
        ({"mobile": True, "memory": 1, "network": "slow-2g", "save_data": True}, "low"),
        ({"mobile": False, "memory": 8, "cores": 2}, "mid"),
        ({"memory": 2}, "mid"),
        ({"memory": 8, "network": "slow-2g"}, "high"),
    ],
)
def test_a_page_says_what_its_device_is(said: dict[str, Any], expected: str) -> None:
    assert classify(Device(**said)) == expected


def test_a_low_phone_has_two_pictures_of_360_lines_and_h264_where_hardware_decodes_it() -> None:
    assert DeviceState(CHEAP, 0).limits == Limits(2, 360)
    hardware = Device(memory=2, mobile=True, efficient=("video/h264", "video/VP9", "video/unheard-of"))
    assert DeviceState(hardware, 0).limits == Limits(2, 360, efficient=("h264-1", "h264-0"))
    strong = Device(memory=8, cores=8, mobile=True, efficient=("video/H264",))
    assert DeviceState(strong, 0).limits.efficient == ()


class Page:
    """A device that reports each 2 s."""

    def __init__(self, device: Device, *, pictures: int = 2, height: int = 360, codecs: tuple[str, ...] = ()) -> None:
        self.state = DeviceState(device, 0.0)
        self.now = 0.0
        self.shown, self.height = pictures, height
        self.codecs = codecs or ("video/VP8",)

    @property
    def bounds(self) -> tuple[int, int]:
        return self.state.limits.pictures, self.state.limits.height

    def report(self, times: int = 1, *, dropped: float = 0.0, busy: float = 0.2, **more: Any) -> None:
        for _ in range(times):
            self.now += 2
            self.state.report(
                self.now,
                DeviceStats(
                    seconds=2,
                    decoded=40,
                    dropped=round(40 * dropped),
                    decode_ms=busy * 2000 / 40,
                    pictures=min(self.shown, self.state.limits.pictures),
                    height=min(self.height, self.state.limits.height),
                    codecs=self.codecs,
                    **more,
                ),
            )

    def told(self) -> tuple[bool, str | None]:
        return self.state.strained, self.state.limitation

    def classes(self) -> tuple[str, str]:
        return self.state.said_class, self.state.device_class

    def until_raised(self) -> float:
        """How long a calm device waits for its next step back."""
        before, began = self.state.limits, self.now
        while self.state.limits == before and self.now - began < 1000:
            self.report()
        return self.now - began


@pytest.mark.parametrize("trouble", [{"dropped": 0.3}, {"busy": 0.9}])
def test_half_a_core_has_found_what_it_bears_within_ten_seconds(trouble: dict[str, Any]) -> None:
    page = Page(LAPTOP)
    page.report(**trouble)
    assert page.bounds == (16, 1080), "once is chance"
    page.report(**trouble)
    assert page.bounds == (1, 1080), "the number of pictures first"
    page.report(2, **trouble)
    assert page.bounds == (1, 240)
    assert page.now == 8
    page.report(4, **trouble)
    assert page.bounds == (1, 240), "less is nothing"


def test_four_pictures_become_two_and_then_one() -> None:
    page = Page(LAPTOP, pictures=4, height=720)
    seen = []
    for _ in range(5):
        page.report(2, dropped=0.5)
        seen.append(page.bounds)
    assert seen == [(2, 1080), (1, 1080), (1, 360), (1, 240), (1, 240)]


def test_a_busy_moment_is_no_weak_phone() -> None:
    page = Page(LAPTOP)
    for _ in range(10):
        page.report(dropped=0.9)
        page.report()
    assert page.bounds == (16, 1080)
    assert not page.state.strained


def test_the_codec_goes_first_where_a_cheaper_one_can_do() -> None:
    page = Page(LAPTOP, codecs=("video/AV1", "video/VP8"))
    page.report(2, busy=0.9)
    assert page.state.limits == Limits(16, 1080, avoid=frozenset({"av1"}))
    assert page.state.device_class == DeviceClass.DESKTOP
    page.report(2, busy=0.9)
    assert page.bounds == (1, 1080), "who still sends it can't do otherwise"


def test_what_hardware_decodes_is_not_avoided_but_asked_for() -> None:
    phone = Device(memory=3, cores=6, mobile=True, efficient=("video/VP9", "video/H264"))
    page = Page(phone, codecs=("video/VP9",))
    page.report(2, busy=0.9)
    assert page.bounds == (1, 720), "nothing cheaper than hardware"
    page = Page(phone, codecs=("video/VP8",))
    page.report(2, busy=0.9)
    assert page.state.limits == Limits(4, 720, efficient=("h264-1", "h264-0"))


def test_steps_are_taken_back_one_by_one_after_half_a_minute_of_calm() -> None:
    page = Page(LAPTOP)
    page.report(4, busy=0.9)
    assert page.bounds == (1, 240)
    assert 30 <= page.until_raised() <= 34
    assert page.bounds == (1, 1080)
    assert 30 <= page.until_raised() <= 34
    assert page.bounds == (16, 1080)


def test_neither_calm_nor_overloaded_stays_as_it_is() -> None:
    page = Page(LAPTOP)
    page.report(2, busy=0.9)
    page.report(100, busy=0.6)
    assert page.bounds == (1, 1080), "two such pictures would be too much"


def test_each_step_back_that_fails_makes_the_next_wait_twice_as_long_up_to_eight_minutes() -> None:
    page = Page(LAPTOP)
    page.report(2, busy=0.9)
    waits = []
    for _ in range(6):
        waits.append(page.until_raised())
        page.report(2, busy=0.9)
    assert [round(wait / 10) * 10 for wait in waits] == [30, 60, 120, 240, 480, 480]
    page.until_raised()
    page.report(8)
    page.report(2, busy=0.9)
    assert page.until_raised() <= 34, "what held begins anew"


def test_a_screen_without_pictures_proves_nothing() -> None:
    page = Page(LAPTOP)
    page.report(2, busy=0.9)
    for _ in range(60):
        page.now += 2
        page.state.report(page.now, DeviceStats(seconds=2))
    assert page.bounds == (1, 1080)


def test_an_empty_battery_takes_one_step_of_resolution_until_it_is_charged() -> None:
    page = Page(CHEAP, codecs=("video/VP9",))
    page.report(battery=0.14)
    assert page.state.limits == Limits(2, 240)
    page.report(battery=0.16)
    assert page.bounds == (2, 240), "no swinging about the bound"
    page.report(battery=0.21)
    assert page.bounds == (2, 360)
    page.report(battery=0.10)
    page.report(battery=None)
    assert page.bounds == (2, 360)
    assert page.state.device_class == DeviceClass.LOW


def test_people_are_told_of_an_overload_for_ten_seconds() -> None:
    page = Page(LAPTOP)
    page.report(2, dropped=0.5, limitation="cpu")
    assert page.told() == (True, "cpu")
    page.report(4, limitation="none")
    assert page.told() == (True, "none")
    page.report()
    assert page.told() == (False, None)


def test_the_class_is_corrected_by_what_is_reported() -> None:
    page = Page(LAPTOP, pictures=8)
    assert page.classes() == ("desktop", "desktop")
    page.report(2, busy=0.9)
    assert page.classes() == ("desktop", "mid")
    page.report(2, busy=0.9)
    assert page.classes() == ("desktop", "low")


@pytest.mark.parametrize(
    ("was", "becomes", "said"),
    [
        ("pictures = 2\n", "pictures = 0\n", r"low\.pictures: 0 \(expected a whole number above 0\)"),
        ("pictures = 2\n", "pictures = true\n", r"low\.pictures: True"),
        ("pictures = 2\n", "", "low: expected a table of pictures, max_height, h264_first"),
        ("busy = 0.80", 'busy = "much"', r"overload\.busy: 'much' \(expected a number above 0\)"),
        ("h264_first = true", "h264_first = 1", r"low\.h264_first: 1 \(expected true or false\)"),
        ("[battery]", "[batteries]", "expected the tables battery, class"),
        ("[mid]", "[mid", "is not TOML"),
    ],
)
def test_a_table_that_cannot_be_used_says_where_and_what_was_expected(was: str, becomes: str, said: str) -> None:
    assert was in TEXT
    with pytest.raises(BadTable, match=said) as caught:
        devices.read(TEXT.replace(was, becomes, 1))
    assert str(caught.value).startswith("config/devices.toml: ")
