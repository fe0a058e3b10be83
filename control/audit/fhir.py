"""Entries as FHIR R4 AuditEvent (hl7.org/fhir/R4/auditevent.html), in a Bundle."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from ..store.audit import time_of
from .acting import Known
from .entry import Entry

CONTENT_TYPE = "application/fhir+json"
_DICOM = "http://dicom.nema.org/resources/ontology/DCM"
_EVENT_TYPE = "http://terminology.hl7.org/CodeSystem/audit-event-type"
_OBJECT_ROLE = "http://terminology.hl7.org/CodeSystem/object-role"
_ENTITY_TYPE = "http://terminology.hl7.org/CodeSystem/audit-entity-type"
_ROLE = "http://terminology.hl7.org/CodeSystem/extra-security-role-type"

# audit-event-action: create, read, update, delete, execute; by the last word of an action, else `E`.
_VERBS = {"created": "C", "invited": "C", "read": "R", "updated": "U", "erased": "D", "expired": "D", "cancelled": "D"}
# audit-event-outcome: success, minor failure (it was refused), serious failure.
_OUTCOMES = {"done": "0", "refused": "4", "failed": "8"}


def bundle(entries: Iterable[Entry], public_url: str, link: str, following: str | None) -> str:
    """A searchset of one page.

    Args:
        link, following: addresses of this page and of the next.
    """
    links = [{"relation": "self", "url": link}]
    if following is not None:
        links.append({"relation": "next", "url": following})
    listed = [
        {
            "fullUrl": f"{public_url}/fhir/AuditEvent/{entry.tenant}-{entry.number}",
            "resource": event(entry, public_url),
            "search": {"mode": "match"},
        }
        for entry in entries
    ]
    found: dict[str, Any] = {"resourceType": "Bundle", "type": "searchset", "link": links}
    if listed:  # an empty list isn't FHIR
        found["entry"] = listed
    return json.dumps(found, ensure_ascii=False)


def event(entry: Entry, public_url: str) -> dict[str, Any]:
    """One AuditEvent."""
    return {
        "resourceType": "AuditEvent",
        # At most 64 characters; a tenant's name may be as long.
        "id": f"{entry.tenant[:40]}-{entry.number}",
        "type": {"system": _EVENT_TYPE, "code": "rest", "display": "RESTful Operation"}
        if entry.actor_key
        else {"system": _DICOM, "code": "110100", "display": "Application Activity"},
        "subtype": [{"system": f"{public_url}/audit-actions", "code": entry.action}],
        "action": _VERBS.get(entry.action.rpartition(".")[2], "E"),
        "recorded": time_of(entry.at).isoformat(),
        "outcome": _OUTCOMES.get(entry.outcome, "8"),
        "agent": [_agent(entry, public_url)],
        "source": {
            **({"site": entry.care_unit} if entry.care_unit else {}),
            "observer": {"identifier": {"system": public_url, "value": entry.tenant}, "display": "Vardrum"},
        },
        "entity": _entities(entry, public_url),
    }


def _agent(entry: Entry, public_url: str) -> dict[str, Any]:
    machine = entry.known in (Known.SYSTEM, Known.OPERATOR) or (entry.actor_key and entry.actor_id == entry.actor_key)
    found: dict[str, Any] = {
        "type": {
            "coding": [{"system": _ROLE, "code": "dataprocessor" if machine else "humanuser"}],
            "text": entry.known,
        },
        "requestor": entry.known != Known.SYSTEM,
    }
    who: dict[str, Any] = {}
    if entry.actor_id:
        who["identifier"] = {"value": entry.actor_id}
    if entry.actor_name or machine:
        who["display"] = found["name"] = entry.actor_name or entry.known
    if who:
        found["who"] = who
    if entry.actor_care_unit:
        # R4 has no place of its own for where somebody works.
        found["role"] = [{"text": entry.actor_care_unit}]
    if entry.actor_key:
        found["altId"] = entry.actor_key
    return found


def _entities(entry: Entry, public_url: str) -> list[dict[str, Any]]:
    person = {"system": _ENTITY_TYPE, "code": "1", "display": "Person"}
    found: list[dict[str, Any]] = []
    if entry.patient_ref:
        found.append(
            {
                "what": {"identifier": {"value": entry.patient_ref}},
                "type": person,
                "role": {"system": _OBJECT_ROLE, "code": "1", "display": "Patient"},
            }
        )
    if entry.participant:
        value = entry.person_ref or entry.participant
        one: dict[str, Any] = {"what": {"identifier": {"value": value}}, "type": person}
        if entry.person_name:
            one["name"] = entry.person_name
        found.append(one)
    subject: dict[str, Any] = {"type": {"system": _ENTITY_TYPE, "code": "2", "display": "System Object"}}
    subject["what"] = {"identifier": {"system": public_url, "value": entry.room or entry.tenant}}
    detail = [(name, value) for name, value in json.loads(entry.detail).items()]
    detail += [("reason", entry.reason)] if entry.reason else []
    if detail:
        subject["detail"] = [{"type": name, "valueString": _text(value)} for name, value in detail]
    found.append(subject)
    return found


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
