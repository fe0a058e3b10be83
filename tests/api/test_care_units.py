"""What care units choose, and that it holds: for links, for words and screens, for the question afterwards."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from vardrum.control.visits.care_units import CareUnits
from vardrum.control.visits.values import Actor, Function, Role, UnitSettings, Verb
from vardrum.tests.api.installation import Installation
from vardrum.tests.api.websocket_house import House, Room

UNIT = "/v1/care-units/Ward%207"
ALL = ["chat", "screen", "sms", "eid", "feedback", "link_join"]
TEXTS = {
    "fee": {"sv": "Besöket kostar 250 kr.", "en": "The visit costs 250 kr.\nUnder 18: nothing."},
    "preparation": {},
    "physical_visit": {"ar": "يمكنك زيارتنا", "fi": "Voit myös tulla paikalle"},
}


async def test_a_unit_that_has_chosen_nothing_has_what_the_installation_says(here: Installation) -> None:
    reply = await here.ask("GET", UNIT)
    assert (reply.status, reply.headers["ETag"]) == (200, '"0"')
    nothing: dict[str, Any] = {"fee": {}, "preparation": {}, "physical_visit": {}}
    assert reply.body == {"care_unit": "Ward 7", "functions": ALL, "texts": nothing}


async def test_the_installation_says_what_is_on_before_a_unit_chooses(tmp_path: Path) -> None:
    async with Installation(tmp_path, {"care_units": {"functions": "chat, link_join"}}) as here:
        assert (await here.ask("GET", UNIT)).body["functions"] == ["chat", "link_join"]


async def test_what_a_unit_chooses_replaces_all_it_had_chosen(here: Installation) -> None:
    first = {"functions": ["screen", "chat"], "phone": "+4621123456", "texts": TEXTS, "neutral_name": "Region North"}
    put = await here.ask("PUT", UNIT, first)
    assert (put.status, put.headers["ETag"]) == (200, '"1"')
    assert put.body == {"care_unit": "Ward 7", **first, "functions": ["chat", "screen"]}
    got = await here.ask("GET", UNIT)
    assert (got.body, got.headers["ETag"]) == (put.body, '"1"')
    assert (await here.ask("GET", UNIT, key=await here.new_key("south"))).body["functions"] == ALL

    again = await here.ask("PUT", UNIT, {"functions": []}, If_Match='"1"')
    assert (again.status, again.headers["ETag"], again.body["functions"]) == (200, '"2"', [])
    assert "phone" not in again.body
    late = await here.ask("PUT", UNIT, {"functions": ["chat"]}, If_Match='"1"')
    assert (late.status, late.problem) == (412, "version-mismatch")
    assert (await here.ask("GET", UNIT)).body["functions"] == []


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, "#/functions"),
        ({"functions": ["chat", "chat"]}, "#/functions"),
        ({"functions": ["fax"]}, "#/functions/0"),
        ({"functions": [], "phone": "021-12"}, "#/phone"),
        ({"functions": [], "texts": {"fee": {"de": "x"}}}, "#/texts/fee/de/[key]"),
        ({"functions": [], "texts": {"fee": {"sv": "x" * 1001}}}, "#/texts/fee/sv"),
        ({"functions": [], "texts": {"fee": {"sv": "a\u202eb"}}}, "#/texts/fee/sv"),
        ({"functions": [], "name": "x"}, "#/name"),
    ],
)
async def test_what_doesnt_fit_is_refused_by_field(here: Installation, body: Any, pointer: str) -> None:
    reply = await here.ask("PUT", UNIT, body)
    assert (reply.status, reply.problem, reply.pointers) == (422, "invalid-body", {pointer})


@pytest.mark.parametrize("name", ["SE2321000016-1A2B", "Öron/näsa/hals", "100 % sure?", "x" * 200])
async def test_any_name_that_a_room_can_have_is_an_address(here: Installation, name: str) -> None:
    put = await here.ask("PUT", f"/v1/care-units/{quote(name, safe='')}", {"functions": ["chat"]})
    assert (put.status, put.body["care_unit"]) == (200, name)


@pytest.mark.parametrize("name", ["%0A", "x" * 201, "%20"])
async def test_a_name_that_no_room_can_have_is_not_found(here: Installation, name: str) -> None:
    assert (await here.ask("GET", f"/v1/care-units/{name}")).status == 404


async def test_relatives_come_by_the_portal_only_where_links_are_off(here: Installation) -> None:
    await here.ask("PUT", UNIT, {"functions": ["chat"]})
    visit = await here.book()
    refused = await here.ask("POST", "/v1/sessions", {"invite": visit.links["Relative"]}, key="")
    assert (refused.status, refused.problem, refused.body["function"]) == (409, "function-off", "link_join")
    assert (await visit.open("Patient")).id

    made = await here.ask("POST", visit.of("Relative") + "/sessions", {})
    opened = await here.ask("POST", "/v1/sessions", {"embed_token": made.body["embed_token"]}, key="")
    assert opened.status == 201
    again = await here.ask("POST", "/v1/sessions", {"resume": opened.body["resume"]}, key="")
    assert again.status == 201, "a browser that was let in comes back"

    # A host who invites somebody in mid-visit has decided that they may come.
    host = await visit.host()
    body = {"role": "relative", "display_name": "Aunt"}
    aunt = await here.ask("POST", visit.path + "/participants", body, key=host.token, actor=None)
    secret = aunt.body["join_url"].partition("#")[2]
    assert (await here.ask("POST", "/v1/sessions", {"invite": secret}, key="")).status == 201


async def test_nobody_holds_a_document_up_where_there_is_no_picture(here: Installation) -> None:
    visit = await here.book(form="phone")
    host = await visit.host()
    await visit.comes("Patient")
    refused = await visit.act("Patient", "identify", host=host.participant)
    assert (refused.status, refused.problem) == (409, "state-conflict")
    known = await here.ask("PUT", visit.of("Patient") + "/identity", {"method": "known_in_person"})
    assert known.body["identity"]["method"] == "known_in_person"
    assert (await visit.act("Patient", "admit")).body["state"] == "admitted"


async def test_the_form_is_fixed_once_somebody_has_arrived(here: Installation) -> None:
    visit = await here.book(form="phone")
    opened = await here.ask("POST", "/v1/sessions", {"invite": visit.links["Patient"]}, key="")
    assert opened.body["about"]["form"] == "phone"
    changed = await here.ask("PATCH", visit.path, {"form": "chat"}, If_Match="*")
    assert (changed.status, changed.body["form"]) == (200, "chat")
    await visit.comes("Relative")
    refused = await here.ask("PATCH", visit.path, {"form": "video"}, If_Match="*")
    assert (refused.status, refused.problem) == (409, "state-conflict")


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with House(tmp_path) as house:
        yield house


async def choose(house: House, *functions: Function, phone: str | None = None) -> None:
    units = CareUnits(house.store, house.visits.policy, house.visits.clock, house.visits.units)
    await units.replace("demo", "Ward 7", UnitSettings(frozenset(functions), phone=phone), version=None)


PEOPLE = (("Pat", Role.PATIENT), ("Car", Role.CAREGIVER))


async def welcome(house: House, room: Room, name: str) -> Any:
    page = await house.hello(await room.token(name))
    return (await page.hears("welcome"))["room"]


async def test_pages_hear_what_is_on_and_what_kind_of_visit_it_is(house: House) -> None:
    room = await house.room(*PEOPLE)
    told = await welcome(house, room, "Pat")
    assert (told["form"], told["training"], told["functions"]) == ("video", False, sorted(ALL))
    assert told["care_unit"] == {"name": "Ward 7"}

    await choose(house, Function.CHAT, phone="+4621123456")
    room = await house.room(*PEOPLE, training=True)
    told = await welcome(house, room, "Pat")
    assert (told["training"], told["functions"]) == (True, ["chat"])
    assert told["care_unit"] == {"name": "Ward 7", "phone": "+4621123456"}, "the unit's own number"


async def test_who_waits_hears_what_the_unit_wants_known_and_nobody_else_does(house: House) -> None:
    people = (*PEOPLE, ("Rel", Role.RELATIVE), ("Int", Role.INTERPRETER))
    told = await welcome(house, await house.room(*people), "Pat")
    assert "texts" not in told, "a unit that has said nothing"
    assert told["time_zone"] == "Europe/Stockholm"

    units = CareUnits(house.store, house.visits.policy, house.visits.clock, house.visits.units)
    texts = {**TEXTS, "preparation": {"sv": ""}}
    await units.replace("demo", "Ward 7", UnitSettings(texts=texts), version=None)
    room = await house.room(*people)
    said = {"fee": TEXTS["fee"], "physical_visit": TEXTS["physical_visit"]}
    for name in ("Pat", "Rel"):
        assert (await welcome(house, room, name))["texts"] == said
    for name in ("Int", "Car"):
        assert "texts" not in await welcome(house, room, name)
    room = await house.room(*people)
    token = await room.token("Pat")
    await (await house.hello(token)).hears("welcome")
    await room.does(Verb.ADMIT, "Pat")
    again = await house.hello(token)
    assert "texts" not in (await again.hears("welcome"))["room"], "they are in now"


async def test_words_and_screens_that_are_off_are_refused_to_everyone(house: House) -> None:
    await choose(house)
    room = await house.room(*PEOPLE)
    host, patient = await room.host("Car"), await room.admitted("Pat")
    for page in (host, patient):
        for type, fields in (("chat", {"id": "a", "text": "x"}), ("typing", {"text": "x"}), ("sharing", {"on": True})):
            await page.say(type, **fields)
            refusal = await page.hears("error")
            assert (refusal["code"], refusal["re"]) == ("function-off", fields.get("id", type))
        await page.say("sharing", on=False)
        heard = await page.settled()
        assert not [one for one in heard if one["type"] in ("chat", "typing", "error")]
    await choose(house, Function.CHAT)
    await house.visits.lock(room.id, Actor("u1", "Ward 7"))  # whatever changes the room
    await patient.say("chat", id="b", text="now")
    assert (await host.hears("chat"))["text"] == "now"


@pytest.mark.parametrize("form", ["phone", "chat"])
async def test_a_visit_by_phone_or_chat_begins_without_media_and_calls_nobody(house: House, form: str) -> None:
    await choose(house, Function.SCREEN)
    room = await house.room(*PEOPLE, form=form)
    host, patient = await room.host("Car"), await house.hello(await room.token("Pat"))
    told = (await patient.hears("welcome"))["room"]
    assert (told["form"], told["functions"]) == (form, ["chat"] if form == "chat" else [])
    await room.does(Verb.ADMIT, "Pat")
    await patient.hears("admitted")
    everyone = {room.ids["Pat"], room.ids["Car"]}
    await host.lists(
        "participants", lambda people: {one["id"] for one in people if one["connection"] == "connected"} == everyone
    )
    assert (await house.visits.snapshot(room.id)).state == "in_progress"
    await patient.say("offer", id=1, sdp="v=0", restart=False)
    assert (await patient.hears("error"))["code"] == "not-allowed"
    await patient.say("chat", id="a", text="x")
    answer = await (patient.hears("chat") if form == "chat" else patient.hears("error"))
    assert answer.get("code", "function-off") == "function-off"
    live = house.live.rooms[room.id]
    live.tick(house.live.now() + 3)
    for present in live.present.values():
        live.care.look(present, house.live.now() + 60)
        assert not present.troubles.needed, "nobody lacks media here"
