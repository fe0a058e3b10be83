"""/v1/rooms/{room}/report: a visit as it went, for a journal."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from ..visits.attendance import WAYS, Attendance, Happening, Stretch
from ..visits.reports import Attended, Check, Report
from ..visits.rules import RoomState
from ..visits.values import Form, Role
from . import fhir
from .bodies import ActorView, CareUnitView
from .caller import Scope
from .fields import MISSING, Shown, View
from .routing import Answer, Asked, Routes

routes = Routes()


class StretchView(View):
    """`to` is missing while it goes on; `seconds` is up to now then."""

    begins: Shown
    ends: Shown | None = MISSING
    seconds: float


class HappeningView(View):
    """As in the feed of events; `by` is the acting person."""

    at: Shown
    type: str
    participant: str | None = MISSING
    by: ActorView | None = MISSING
    data: dict[str, Any]


class CheckView(View):
    """One time that somebody was identified; `expected` false: as somebody else than the portal said."""

    at: Shown
    method: str
    level: str
    by: ActorView | None = MISSING
    document_type: str | None = MISSING
    expected: bool | None = MISSING


class LevelsView(View):
    """Seconds inside at each level; `lost`: nothing came."""

    good: float
    poor: float
    sound_only: float
    lost: float


class QualityView(View):
    """How good sound and pictures were: those that they got, and those that others got of them."""

    down: LevelsView
    up: LevelsView


class AttendedView(View):
    """One participant's part; `came` false: never, not even to the waiting room."""

    participant: str
    role: Role
    host: bool
    display_name: str
    external_ref: str | None = MISSING
    came: bool
    attended: list[StretchView]
    attended_seconds: float
    waited: list[StretchView]
    waited_seconds: float
    identity: list[CheckView]
    quality: QualityView | None = None


class FallbackView(View):
    """Whether video failed somebody, and what was done."""

    phone_used: bool
    needed: list[HappeningView]
    used: list[HappeningView]


class ReportView(View):
    """A visit as it went, up to now. `quality` is null in visits without sound and pictures."""

    room: str
    state: RoomState
    form: Form
    training: bool
    external_ref: str | None = MISSING
    patient_ref: str | None = MISSING
    care_unit: CareUnitView
    starts_at: Shown
    ends_at: Shown
    time_zone: str
    held: bool
    started_at: Shown | None = None
    ended_at: Shown | None = None
    seconds: float
    attendance: list[AttendedView]
    fallback: FallbackView
    timeline: list[HappeningView]
    complete: bool

    @classmethod
    def of(cls, report: Report) -> ReportView:
        room, now = report.room, report.now
        unit = room.care_unit
        same = ("state", "form", "training", "external_ref", "patient_ref", "starts_at", "ends_at", "time_zone")
        return cls(
            **{name: getattr(room, name) for name in same},
            room=room.id,
            care_unit=CareUnitView(name=unit.name, hsa_id=unit.hsa_id, phone=unit.phone),
            held=bool(report.met),
            started_at=report.started_at,
            ended_at=room.ended_at,
            seconds=_seconds(report.met, now),
            attendance=[_attended(one, now, room.form) for one in report.people],
            fallback=FallbackView(
                phone_used=report.fallback.phone_used,
                needed=[_happening(one) for one in report.fallback.needed],
                used=[_happening(one) for one in report.fallback.used],
            ),
            timeline=[_happening(one) for one in report.timeline],
            complete=report.complete,
        )


def _attended(one: Attended, now: datetime, form: str) -> AttendedView:
    inside, waited = ([], []) if one.times is None else (one.times.inside, one.times.waited)
    return AttendedView(
        participant=one.participant,
        role=one.role,
        host=one.host,
        display_name=one.display_name,
        external_ref=one.external_ref,
        came=one.times is not None,
        attended=[_stretch(stretch, now) for stretch in inside],
        attended_seconds=_seconds(inside, now),
        waited=[_stretch(stretch, now) for stretch in waited],
        waited_seconds=_seconds(waited, now),
        identity=[_check(check) for check in one.checks],
        quality=None if one.times is None or form != "video" else _quality(one.times),
    )


def _quality(times: Attendance) -> QualityView:
    down, up = (
        LevelsView(**{level: time.total_seconds() for level, time in times.levels[way].items()}) for way in WAYS
    )
    return QualityView(down=down, up=up)


def _stretch(stretch: Stretch, now: datetime) -> StretchView:
    return StretchView(begins=stretch.start, ends=stretch.end, seconds=stretch.lasted(now).total_seconds())


def _seconds(stretches: Sequence[Stretch], now: datetime) -> float:
    return sum(stretch.lasted(now).total_seconds() for stretch in stretches)


def _actor(by: Mapping[str, Any] | None) -> ActorView | None:
    return ActorView(id=by.get("id", ""), name=by.get("name", ""), care_unit=by.get("care_unit")) if by else None


def _check(check: Check) -> CheckView:
    return CheckView(
        at=check.at,
        method=check.method,
        level=check.level,
        by=_actor(check.by),
        document_type=check.document_type,
        expected=check.expected,
    )


def _happening(one: Happening) -> HappeningView:
    data = {name: value for name, value in one.data.items() if name != "by"}
    return HappeningView(
        at=one.at, type=one.type, participant=one.participant, by=_actor(one.data.get("by")), data=data
    )


@routes.add("GET", "/v1/rooms/{room}/report", scope=Scope.REPORTS, answer=ReportView, kinds=(fhir.CONTENT_TYPE,))
async def report(asked: Asked) -> Answer:
    """Report how a visit went: who was there when, identified how, how well, and whether the phone had to be used."""
    found = await asked.reports.report(asked.room, tenant=asked.tenant)
    await asked.visits.seen([found.room], "report")
    if asked.kind == fhir.CONTENT_TYPE:
        text = json.dumps(fhir.encounter(found, asked.public_url), ensure_ascii=False)
        return Answer(text, 200, {"Vary": "Accept"}, fhir.CONTENT_TYPE)
    return Answer(ReportView.of(found), 200, {"Vary": "Accept"})
