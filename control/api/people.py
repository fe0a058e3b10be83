"""/v1/people: what a person may ask to have erased."""

from __future__ import annotations

from typing import Literal

from pydantic import TypeAdapter, ValidationError

from ..visits.erasure import LAW
from ..visits.refused import Refused
from .caller import Scope
from .fields import Name, Shown, View
from .routing import Answer, Asked, Routes

routes = Routes()
_REFERENCE = TypeAdapter(Name)


class ErasedView(View):
    """Of how many something was erased; `withdrawn` are invitations to visits still to come."""

    participants: int
    rooms: int
    audit_entries: int
    withdrawn: int


class KeptView(View):
    """What the law wants kept, and until when."""

    what: Literal["audit_entries"] = "audit_entries"
    count: int
    fields: list[str]
    reason: str
    until: Shown


class ErasureView(View):
    external_ref: str
    erased: ErasedView
    kept: list[KeptView]


@routes.add(
    "DELETE",
    "/v1/people/{external_ref}",
    scope=Scope.ADMIN,
    answer=ErasureView,
    problems=("state-conflict",),
)
async def erase(asked: Asked) -> Answer:
    """Erase what may be erased about a person, by the reference that the portal has given them."""
    reference = asked.path("external_ref")
    try:
        # As a booking would have it: anything else nobody can have.
        reference = _REFERENCE.validate_python(reference)
    except ValidationError:
        raise Refused("not-found", "nobody can have this external_ref") from None
    erased = await asked.visits.erase_person(asked.tenant, reference)
    kept = []
    if erased.until is not None:
        fields = ["patient_ref", "actor_id", "actor_name"]
        kept.append(KeptView(count=erased.kept, fields=fields, reason=LAW, until=erased.until))
    view = ErasureView(
        external_ref=reference,
        erased=ErasedView(
            participants=erased.participants,
            rooms=erased.rooms,
            audit_entries=erased.entries,
            withdrawn=erased.withdrawn,
        ),
        kept=kept,
    )
    return Answer(view)
