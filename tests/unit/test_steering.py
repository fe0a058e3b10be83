"""Publishers are asked for a codec that everyone who sees them decodes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from vardrum.codecs import catalogue
from vardrum.sfu import sdp, steering
from vardrum.sfu.devices import Limits
from vardrum.sfu.node import Node
from vardrum.sfu.types import Level, MediaSettings, Offer, Person, Reason, SlotView, Way

CHROMIUM = (Path(__file__).parent / "data/sdp/offer-chromium-small.sdp").read_bytes().decode("ascii")
FIREFOX = (Path(__file__).parent / "data/sdp/offer-firefox-small.sdp").read_bytes().decode("ascii")
NO_VP8 = CHROMIUM.replace("VP8/90000", "VP10/90000")
ALL = ("vp8", "h264-1", "vp9", "av1")


@pytest.mark.parametrize(
    ("sendable", "viewers", "expected"),
    [
        (ALL, [], "vp8"),
        (ALL, [{"vp8", "h264-1"}, {"vp8"}], "vp8"),
        (ALL, [{"vp8", "h264-1"}, {"h264-1", "h264-0"}], "h264-1"),
        (ALL, [{"vp8", "vp9", "av1"}, {"h264-1", "av1"}], "av1"),
        # Nothing that all decode: what most do.
        (("vp8", "vp9"), [{"vp9"}, {"h264-1"}, {"vp9"}], "vp9"),
        (("vp8", "vp9"), [{"h264-1"}], "vp8"),
        (ALL, [None, {"vp9"}], "vp9"),
        ((), [{"vp8"}], None),
    ],
)
def test_the_first_codec_that_most_decode_is_chosen(sendable: Any, viewers: Any, expected: str | None) -> None:
    assert steering.choose(sendable, viewers) == expected


def test_weak_devices_choose_among_what_everyone_decodes() -> None:
    everything = [set(ALL), set(ALL)]
    plain = Limits(4, 720)
    hardware = Limits(2, 360, efficient=("h264-1", "h264-0"))
    assert steering.choose(ALL, everything, [plain, plain]) == "vp8"
    assert steering.choose(ALL, everything, [plain, hardware]) == "h264-1", "H.264 first where hardware decodes it"
    assert steering.choose(ALL, [set(ALL), {"vp8"}], [hardware, plain]) == "vp8", "but never what somebody can't see"
    av1_first = ("av1", "vp9", "vp8")
    assert steering.choose(av1_first, everything, [plain, Limits(4, 720, frozenset({"av1"}))]) == "vp9"
    assert steering.choose(("av1",), everything, [Limits(4, 720, frozenset({"av1"}))]) == "av1", "better than nothing"


def test_offers_say_what_is_sent_and_what_is_decoded() -> None:
    chromium, firefox = sdp.read_offer(CHROMIUM), sdp.read_offer(FIREFOX)
    assert steering.sends(chromium) == ("vp8", "h264-1", "vp9", "av1")
    assert steering.decodes(chromium) == frozenset({"vp8", "h264-1", "h264-0", "vp9", "av1"})
    assert steering.decodes(firefox) == frozenset({"vp8", "vp9", "av1"})
    assert steering.sends(sdp.read_offer(NO_VP8))[0] == "h264-1"


def test_codecs_have_the_names_that_browsers_know_them_by() -> None:
    assert [catalogue.BY_NAME[name].mime for name in ("vp8", "h264-0", "av1")] == [
        "video/VP8",
        "video/H264",
        "video/AV1",
    ]


class Ear:
    """What a node tells of how to send."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, Any]] = []

    def send_changed(self, room: str, participant: str, send: Mapping[str, Any]) -> None:
        assert send["camera"].keys() == send["screen"].keys() == {"codec"}
        assert send["camera"] == send["screen"]
        self.asked.append((participant, send["camera"]["codec"]))

    def slots_changed(self, room: str, participant: str, slots: list[SlotView]) -> None: ...

    def speaking(self, room: str, participants: list[str]) -> None: ...

    def connection(self, room: str, participant: str, connected: bool) -> None: ...

    def expired(self, room: str, participant: str) -> None: ...

    def quality(self, room: str, to: str, participant: str, level: Level, reason: Reason, way: Way) -> None: ...


async def test_a_newcomer_without_vp8_changes_what_the_others_are_asked_for_and_leaving_changes_it_back() -> None:
    ear = Ear()
    people = [Person(name, "admitted") for name in ("anna", "bo", "cia")]
    async with Node(MediaSettings(port=0), ear) as node:
        node.people("room", people, 3)
        await node.join("room", "anna", Offer(1, CHROMIUM))
        await node.join("room", "bo", Offer(1, CHROMIUM))
        assert ear.asked == [], "browsers send VP8 unasked"
        await node.join("room", "cia", Offer(1, NO_VP8))
        assert sorted(ear.asked) == [("anna", "video/H264"), ("bo", "video/H264")]
        ear.asked.clear()
        node.people("room", people[:2], 3)
        assert sorted(ear.asked) == [("anna", "video/VP8"), ("bo", "video/VP8")], "who may not see them doesn't count"
        node.people("room", people, 3)
        ear.asked.clear()
        node.drop("room", "cia")
        assert sorted(ear.asked) == [("anna", "video/VP8"), ("bo", "video/VP8")]
