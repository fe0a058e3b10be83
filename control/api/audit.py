"""/v1/audit"""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from typing import Annotated, Any

from pydantic import Field

from ..audit import fhir, trail
from ..audit.acting import Known
from ..audit.entry import Entry
from ..store.audit import Chosen, time_of
from ..visits.refused import FieldError, Refused
from .caller import Scope
from .fields import MISSING, Body, Id, Instant, Name, Shown, View
from .routing import Answer, Asked, Routes

routes = Routes()
MAX_NUMBER = 2**62


class AuditQuery(Body):
    room: Id | None = None
    patient_ref: Name | None = None
    actor: Name | None = None
    care_unit: Name | None = None
    action: Name | None = None
    since: Annotated[Instant | None, Field(alias="from")] = None
    until: Annotated[Instant | None, Field(alias="to")] = None
    cursor: Annotated[str | None, Field(max_length=200)] = None
    limit: Annotated[int, Field(ge=1, le=200)] = 50


class AuditActorView(View):
    """Who acted; `known` says how the server knows."""

    known: Known
    id: str | None = MISSING
    name: str | None = MISSING
    care_unit: str | None = MISSING
    key: str | None = MISSING


class AuditPersonView(View):
    """Whom it concerned."""

    participant: str
    name: str | None = MISSING
    external_ref: str | None = MISSING


class AuditEntryView(View):
    """One act. `erased` names what was erased of it since; `hash` is its place in the chain."""

    number: int
    at: Shown
    action: str
    outcome: str
    actor: AuditActorView
    care_unit: str | None = MISSING
    room: str | None = MISSING
    patient_ref: str | None = MISSING
    person: AuditPersonView | None = MISSING
    reason: str | None = MISSING
    detail: dict[str, Any]
    erased: list[str]
    hash: str

    @classmethod
    def of(cls, one: Entry) -> AuditEntryView:
        person = None
        if one.participant is not None:
            person = AuditPersonView(participant=one.participant, name=one.person_name, external_ref=one.person_ref)
        return cls(
            number=one.number,
            at=time_of(one.at),
            action=one.action,
            outcome=one.outcome,
            actor=AuditActorView(
                known=Known(one.known),
                id=one.actor_id,
                name=one.actor_name,
                care_unit=one.actor_care_unit,
                key=one.actor_key,
            ),
            care_unit=one.care_unit,
            room=one.room,
            patient_ref=one.patient_ref,
            person=person,
            reason=one.reason,
            detail=json.loads(one.detail),
            erased=one.erased(),
            hash=one.hash.hex(),
        )


class AuditList(View):
    items: list[AuditEntryView]
    next: str | None


@routes.add("GET", "/v1/audit", scope=Scope.AUDIT, query=AuditQuery, answer=AuditList, kinds=(fhir.CONTENT_TYPE,))
async def listed(asked: Asked) -> Answer:
    """Read the audit trail, oldest first; this reading is written into it too."""
    query: AuditQuery = asked.query
    chosen = _after(query.cursor, _chosen(query))
    visits = asked.visits
    entries, following = await trail.read(
        visits.store, asked.tenant, chosen, query.limit, visits.clock(), visits.random
    )
    cursor = None if following is None else _cursor(following)
    if asked.kind != fhir.CONTENT_TYPE:
        return Answer(AuditList(items=[AuditEntryView.of(one) for one in entries], next=cursor))
    here = asked.http.rel_url
    after = None if cursor is None else f"{asked.public_url}{here.update_query(cursor=cursor)}"
    text = fhir.bundle(entries, asked.public_url, f"{asked.public_url}{here}", after)
    return Answer(text, content_type=fhir.CONTENT_TYPE)


def _chosen(query: AuditQuery) -> Chosen:
    return Chosen(
        room=query.room,
        patient_ref=query.patient_ref,
        actor=query.actor,
        care_unit=query.care_unit,
        action=query.action,
        since=query.since,
        until=query.until,
    )


def _cursor(following: Chosen) -> str:
    """Where a list goes on, and where it ends; opaque to callers."""
    return base64.urlsafe_b64encode(f"{following.after}.{following.upto}".encode()).rstrip(b"=").decode()


def _after(cursor: str | None, chosen: Chosen) -> Chosen:
    """Raises Refused `invalid-query`."""
    if cursor is None:
        return chosen
    try:
        text = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True).decode("ascii")
        after, upto = (int(part) for part in text.split("."))
        if not 0 < after <= upto < MAX_NUMBER:
            raise ValueError
    except ValueError:
        errors = [FieldError("#/cursor", "isn't one of ours")]
        raise Refused("invalid-query", "cursor doesn't fit", errors=errors) from None
    return replace(chosen, after=after, upto=upto)
