"""A visit as FHIR R4 has it: Encounter (https://hl7.org/fhir/R4/encounter.html), class VR."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from ..visits.attendance import Stretch
from ..visits.reports import Attended, Report
from ..visits.rules import RoomState
from ..visits.values import Role
from .fields import rfc3339

CONTENT_TYPE = "application/fhir+json"
# Sweden's register of care units and staff (HSA), as electronic journals name it.
HSA = "urn:oid:1.2.752.29.4.19"
ACT_CODE = "http://terminology.hl7.org/CodeSystem/v3-ActCode"
ACT_REASON = "http://terminology.hl7.org/CodeSystem/v3-ActReason"
PARTICIPATION = "http://terminology.hl7.org/CodeSystem/v3-ParticipationType"
PARTICIPANT_TYPE = "http://terminology.hl7.org/CodeSystem/participant-type"
UCUM = "http://unitsofmeasure.org"

# What somebody is to the encounter, and what kind of person `individual` may refer to; a patient is its subject.
HOST = (PARTICIPATION, "PPRF", "primary performer", "Practitioner")
PARTICIPANTS: dict[Role, tuple[str, str, str, str | None]] = {
    Role.CAREGIVER: (PARTICIPATION, "SPRF", "secondary performer", "Practitioner"),
    Role.INTERPRETER: (PARTICIPANT_TYPE, "translator", "Translator", None),
    Role.RELATIVE: (PARTICIPATION, "PART", "Participation", "RelatedPerson"),
    Role.OTHER: (PARTICIPATION, "PART", "Participation", None),
}


def encounter(report: Report, public_url: str) -> dict[str, Any]:
    """The resource as JSON values. Identifiers whose meaning is the portal's own are named below `public_url`."""
    room = report.room
    unit = room.care_unit
    organization: dict[str, Any] = {"type": "Organization", "display": unit.name}
    if unit.hsa_id is not None:
        organization["identifier"] = {"system": HSA, "value": unit.hsa_id}
    identifiers = [{"system": f"{public_url}/rooms", "value": room.id}]
    if room.external_ref is not None:
        identifiers.append({"system": f"{public_url}/{room.tenant}/external_ref", "value": room.external_ref})
    found: dict[str, Any] = {
        "resourceType": "Encounter",
        # An id of FHIR has no underscore; the UUID alone is as good.
        "id": room.id.partition("_")[2],
        "meta": {"lastUpdated": rfc3339(max(room.updated_at, *(one.at for one in report.timeline[-1:])))},
        "identifier": identifiers,
        "status": status(report),
        "class": {"system": ACT_CODE, "code": "VR", "display": "virtual"},
        "serviceProvider": organization,
    }
    if room.training:
        found["meta"]["security"] = [{"system": ACT_REASON, "code": "HTEST", "display": "test health data"}]
    if room.patient_ref is not None:
        system = f"{public_url}/{room.tenant}/patient_ref"
        found["subject"] = {"type": "Patient", "identifier": {"system": system, "value": room.patient_ref}}
    if report.met:
        whole = Stretch(report.met[0].start, report.met[-1].end)
        found["period"] = _period(whole)
        seconds = sum(one.lasted(report.now).total_seconds() for one in report.met)
        found["length"] = {"value": round(seconds / 60, 1), "unit": "min", "system": UCUM, "code": "min"}
    participants = [_participant(one, stretch) for one, stretch in _attendance(report)]
    if participants:
        found["participant"] = participants
    return found


def status(report: Report) -> str:
    """A code of http://hl7.org/fhir/encounter-status; an encounter that never began is `cancelled` there."""
    if report.room.state is RoomState.CANCELLED:
        return "cancelled"
    if report.room.state is RoomState.ENDED:
        return "finished" if report.met else "cancelled"
    if report.met:
        return "in-progress"
    here = any(one.role is Role.PATIENT and one.times is not None for one in report.people)
    return "arrived" if here else "planned"


def _attendance(report: Report) -> list[tuple[Attended, Stretch]]:
    """Each time that somebody else than the patient was in the visit, in order."""
    found = [
        (one, stretch)
        for one in report.people
        if one.times is not None and one.role is not Role.PATIENT
        for stretch in one.times.inside
    ]
    return sorted(found, key=lambda pair: pair[1].start)


def _participant(one: Attended, stretch: Stretch) -> dict[str, Any]:
    system, code, display, kind = HOST if one.host else PARTICIPANTS[one.role]
    individual = {"display": one.display_name, **({} if kind is None else {"type": kind})}
    coding = {"system": system, "code": code, "display": display}
    return {"type": [{"coding": [coding]}], "period": _period(stretch), "individual": individual}


def _period(stretch: Stretch) -> dict[str, str]:
    return {"start": _time(stretch.start), **({} if stretch.end is None else {"end": _time(stretch.end)})}


def _time(at: datetime) -> str:
    return rfc3339(at)
