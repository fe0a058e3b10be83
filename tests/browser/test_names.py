"""People come and go, and no picture ever stands under a wrong name: each one's camera shows a colour of their own."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from vardrum.tests.conftest import Browsers
from vardrum.tests.support.colours import COLOURS, seen, watch, wrong
from vardrum.tests.support.portal import Portal
from vardrum.tests.support.speech import coloured_person
from vardrum.tests.support.visit import (
    DOCTOR,
    INTERPRETER,
    NO_DOCUMENTS,
    PATIENT,
    RELATIVE,
    admit,
    arrive,
    leave,
    meets,
)

WHOSE = {
    DOCTOR["display_name"]: "red",
    PATIENT["display_name"]: "green",
    RELATIVE["display_name"]: "blue",
    INTERPRETER["display_name"]: "yellow",
}


@pytest.mark.timeout(240)
async def test_a_slot_that_changes_hands_never_shows_the_one_before(
    portal: Portal, browsers: Browsers, made: Path
) -> None:
    # Three at most: the newcomer has to get the slot of whoever left.
    people = await portal.book([DOCTOR, PATIENT, RELATIVE, INTERPRETER], max_participants=3, **NO_DOCUMENTS)
    doctor, patient, relative, interpreter = people
    host, first, second, third = await asyncio.gather(
        *(
            browsers.chromium(one.name, picture=coloured_person(made, COLOURS[WHOSE[one.name]]), width=1200)
            for one in people
        )
    )
    await arrive(host, await portal.vouched_url(doctor), into="admitted")
    await asyncio.gather(
        arrive(first, patient.join_url), arrive(second, relative.join_url), arrive(third, interpreter.join_url)
    )
    await admit(host, patient)
    await admit(host, relative)
    await meets(host, patient, relative)
    await meets(first, doctor, relative)
    for page in (host, first):
        await watch(page)
    before = {slot["camera"]["mid"] for slot in (await meets(first, doctor, relative)).values()}

    await leave(second)
    await admit(host, interpreter)
    await meets(host, patient, interpreter)
    slots = await meets(first, doctor, interpreter)
    assert {slot["camera"]["mid"] for slot in slots.values()} == before, "the newcomer has the slot of the one who left"

    # And back again: the browser that was admitted comes back without waiting, but through the check of its devices.
    await leave(third)
    await second.click("return")
    await second.click("join", deadline=20)
    await meets(first, doctor, relative, deadline=40)

    for page, names in ((host, [PATIENT, RELATIVE, INTERPRETER]), (first, [DOCTOR, RELATIVE, INTERPRETER])):
        found = await seen(page)
        print(page.name, found)
        assert wrong(found, WHOSE) == [], f"{page.name} saw a picture under a wrong name"
        for one in names:
            assert (one["display_name"], WHOSE[one["display_name"]]) in found, f"{page.name} never saw {one}"
