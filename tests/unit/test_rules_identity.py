"""What a room demands to know about somebody."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from vardrum.control.visits.identity import DEFAULT_POLICY, Demand, unmet
from vardrum.control.visits.values import Identity, Role

AT = datetime(2026, 3, 2, tzinfo=UTC)
BY = {"id": "u1", "name": "Nurse"}


def eid(level: str, expected: bool | None = None) -> Identity:
    return Identity("bankid", level, BY, AT, expected)


DOCUMENT = Identity("document", "document", BY, AT)
KNOWN = Identity("known_in_person", "document", BY, AT)


@pytest.mark.parametrize(
    ("demand", "identity", "met"),
    [
        (Demand.NONE, None, True),
        (Demand.DOCUMENT, None, False),
        (Demand.DOCUMENT, DOCUMENT, True),
        (Demand.DOCUMENT, KNOWN, True),
        (Demand.DOCUMENT, eid("loa3"), True),
        (Demand.DOCUMENT, eid("loa4"), True),
        (Demand.DOCUMENT, eid("loa2"), False),
        (Demand.DOCUMENT, eid("loa3", expected=True), True),
        (Demand.DOCUMENT, eid("loa3", expected=False), False),
        (Demand.LOA3, None, False),
        (Demand.LOA3, DOCUMENT, False),
        (Demand.LOA3, KNOWN, False),
        (Demand.LOA3, eid("loa2"), False),
        (Demand.LOA3, eid("loa3"), True),
        (Demand.LOA3, eid("loa3", expected=False), False),
        (Demand.NONE, eid("loa3", expected=False), True),
    ],
)
def test_what_counts(demand: Demand, identity: Identity | None, met: bool) -> None:
    missing = unmet({"patient": str(demand)}, Role.PATIENT, identity)
    assert (missing is None) is met
    assert met or missing


def test_only_patients_show_a_document_unless_the_room_says_otherwise() -> None:
    assert {role for role in Role if unmet(DEFAULT_POLICY, role, None)} == {Role.PATIENT}
    assert {role for role in Role if unmet({}, role, None)} == {Role.PATIENT}
