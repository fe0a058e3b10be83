"""/v1/rooms: booked, listed, moved, cancelled; what doesn't fit is refused and changes nothing."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from vardrum.tests.api.installation import START, Installation

pytestmark = pytest.mark.both_databases


async def test_a_booked_room_answers_with_everyones_link_once(here: Installation) -> None:
    reply = await here.ask(
        "POST",
        "/v1/rooms",
        here.booking(
            title="Follow-up",
            external_ref="booking-1",
            participants=[{"role": "patient", "display_name": "Anna", "phone": "+46701234567"}],
        ),
    )
    assert reply.status == 201
    assert reply.headers["Location"] == f"/v1/rooms/{reply.body['id']}"
    assert reply.headers["Cache-Control"] == "no-store"
    [anna] = reply.body["participants"]
    address, _, secret = anna["join_url"].partition("#")
    assert address == "https://video.example.org/j/north"
    assert len(secret) == 22  # 128 bits as base64url
    assert (anna["state"], anna["connection"], anna["identity"]) == ("invited", "none", None)
    again = await here.ask("GET", f"/v1/rooms/{reply.body['id']}")
    assert "join_url" not in again.body["participants"][0]
    assert again.body["opens_at"] == "2026-03-02T08:50:00Z"
    assert again.body["closes_at"] == "2026-03-02T10:05:00Z"
    expected = {"patient": "document", "relative": "none", "interpreter": "none", "caregiver": "none", "other": "none"}
    assert again.body["identity_policy"] == expected


async def test_links_are_kept_only_as_hashes(here: Installation) -> None:
    visit = await here.book()
    arrived = await visit.comes("Patient")
    kept = await here.everything_kept()
    for secret in (*visit.links.values(), arrived.token, arrived.resume, here.key):
        assert secret.encode() not in kept


@pytest.mark.both_databases(False)  # refused before any database is asked
@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"care_unit": None}, "#/care_unit"),
        ({"care_unit": {"name": "x", "extra": 1}}, "#/care_unit/extra"),
        ({"title": "\u202etxet"}, "#/title"),
        ({"title": "x" * 201}, "#/title"),
        ({"title": "  "}, "#/title"),
        ({"starts_at": "2026-03-02T10:00:00"}, "#/starts_at"),
        ({"starts_at": 1772445600}, "#/starts_at"),
        ({"starts_at": "9999-12-31T23:59:59Z"}, "#/starts_at"),
        ({"ends_at": "2026-03-02T09:00:00Z"}, "#/ends_at"),
        ({"ends_at": "2026-03-04T09:00:00Z"}, "#/ends_at"),
        ({"time_zone": "Europe/Atlantis"}, "#/time_zone"),
        ({"language": "svenska språket"}, "#/language"),
        ({"max_participants": 17}, "#/max_participants"),
        ({"max_participants": "8"}, "#/max_participants"),
        ({"max_participants": 1}, "#/max_participants"),
        ({"form": "hologram"}, "#/form"),
        ({"identity_policy": {"patient": "maybe"}}, "#/identity_policy/patient"),
        ({"participants": [{"role": "patient", "display_name": "A", "host": True}]}, "#/participants/0"),
        ({"participants": [{"role": "patient", "display_name": "A", "phone": "070"}]}, "#/participants/0/phone"),
        ({"participants": [{"role": "patient", "display_name": "A", "state": "admitted"}]}, "#/participants/0/state"),
        ({"participants": [{"role": "patient", "display_name": "A"}] * 33}, "#/participants"),
        ({"state": "open"}, "#/state"),
    ],
)
async def test_a_field_that_does_not_fit_is_named(here: Installation, change: dict[str, Any], pointer: str) -> None:
    reply = await here.ask("POST", "/v1/rooms", here.booking(**change))
    assert reply.status == 422
    assert reply.problem == "invalid-body"
    assert reply.pointers == {pointer}
    assert (await here.ask("GET", "/v1/rooms")).body == {"items": [], "next": None}


@pytest.mark.both_databases(False)  # refused before any database is asked
@pytest.mark.parametrize(
    "raw",
    [b"", b"{", b"null", b"[]", b'"\\ud800"', b"{}" * 2, b"\xff\xfe", b"[" * 100_000, b'{"title": "\\ud800"}', b"NaN"],
)
async def test_a_body_that_is_no_json_object_is_refused(here: Installation, raw: bytes) -> None:
    reply = await here.ask("POST", "/v1/rooms", raw=raw)
    assert (reply.status, reply.problem) == (422, "invalid-body")


@pytest.mark.both_databases(False)  # refused before any database is asked
async def test_a_body_that_is_too_large_is_refused(here: Installation) -> None:
    reply = await here.ask("POST", "/v1/rooms", raw=b'{"title": "' + b"x" * 300_000 + b'"}')
    assert (reply.status, reply.problem) == (413, "body-too-large")


@pytest.mark.both_databases(False)  # refused before any database is asked
async def test_a_body_of_another_type_is_refused(here: Installation) -> None:
    reply = await here.ask("POST", "/v1/rooms", here.booking(), Content_Type="application/x-www-form-urlencoded")
    assert (reply.status, reply.problem) == (422, "invalid-body")


async def test_a_live_rooms_external_ref_is_not_given_twice(here: Installation) -> None:
    first = await here.ask("POST", "/v1/rooms", here.booking(external_ref="b-1"))
    second = await here.ask("POST", "/v1/rooms", here.booking(external_ref="b-1"))
    assert (second.status, second.problem) == (409, "external-ref-taken")
    assert second.body["room"] == first.body["id"]
    # Another tenant has references of its own, and a cancelled room gives its own back.
    south = await here.new_key("south")
    assert (await here.ask("POST", "/v1/rooms", here.booking(external_ref="b-1"), key=south)).status == 201
    assert (await here.ask("DELETE", f"/v1/rooms/{first.body['id']}")).status == 204
    assert (await here.ask("POST", "/v1/rooms", here.booking(external_ref="b-1"))).status == 201


async def test_a_list_goes_on_from_its_cursor_and_ends(here: Installation) -> None:
    made = [(await here.ask("POST", "/v1/rooms", here.booking())).body["id"] for _ in range(5)]
    found: list[str] = []
    cursor = ""
    for _ in range(3):
        page = (await here.ask("GET", f"/v1/rooms?limit=2{cursor}")).body
        found += [one["id"] for one in page["items"]]
        cursor = f"&cursor={page['next']}"
    assert found == made
    assert page["next"] is None


async def test_a_list_is_filtered(here: Installation) -> None:
    late = (START + timedelta(days=1)).isoformat(), (START + timedelta(days=1, minutes=30)).isoformat()
    ward = {"name": "Ward 7", "hsa_id": "SE-1"}
    first = (await here.ask("POST", "/v1/rooms", here.booking(external_ref="a", care_unit=ward))).body["id"]
    second = (await here.ask("POST", "/v1/rooms", here.booking(starts_at=late[0], ends_at=late[1]))).body["id"]

    async def ids(query: str) -> list[str]:
        reply = await here.ask("GET", f"/v1/rooms?{query}")
        assert reply.status == 200, reply
        return [one["id"] for one in reply.body["items"]]

    assert await ids("state=open") == [first]
    assert await ids("state=scheduled") == [second]
    assert await ids("from=2026-03-03T00:00:00Z") == [second]
    assert await ids("to=2026-03-03T00:00:00Z") == [first]
    assert await ids("external_ref=a") == [first]
    assert await ids("care_unit=SE-1") == [first]
    assert await ids("care_unit=Ward%207") == [second]


@pytest.mark.both_databases(False)  # refused before any database is asked
@pytest.mark.parametrize(
    "query", ["limit=0", "limit=x", "state=none", "cursor=AAAA", "from=now", "colour=red", "limit=1&limit=2"]
)
async def test_a_query_that_does_not_fit_is_refused(here: Installation, query: str) -> None:
    reply = await here.ask("GET", f"/v1/rooms?{query}")
    assert (reply.status, reply.problem) == (422, "invalid-query")
    assert len(reply.pointers) == 1


async def test_a_patch_merges_member_by_member_when_the_etag_is_the_newest(here: Installation) -> None:
    policy = {"patient": "none", "relative": "document"}
    made = await here.ask(
        "POST",
        "/v1/rooms",
        here.booking(
            title="Old", patient_ref="p", identity_policy=policy, care_unit={"name": "Ward 7", "phone": "+4680000"}
        ),
    )
    path = f"/v1/rooms/{made.body['id']}"
    patch = {
        "title": "New",
        "patient_ref": None,
        "identity_policy": {"relative": None, "other": "loa3"},
        "care_unit": {"hsa_id": "SE-1"},
    }
    etag = made.headers["ETag"]
    changed = await here.ask("PATCH", path, patch, If_Match=etag, Content_Type="application/merge-patch+json")
    assert changed.status == 200
    assert changed.body["title"] == "New"
    assert "patient_ref" not in changed.body
    assert changed.body["identity_policy"]["patient"] == "none"
    assert changed.body["identity_policy"]["relative"] == "none"
    assert changed.body["identity_policy"]["other"] == "loa3"
    assert changed.body["care_unit"] == {"name": "Ward 7", "hsa_id": "SE-1", "phone": "+4680000"}
    assert changed.headers["ETag"] != etag
    outdated: list[dict[str, Any]] = [{"If_Match": etag}, {}, {"If_Match": "rubbish"}]
    for old in outdated:
        refused = await here.ask("PATCH", path, {"title": "Newer"}, **old)
        assert (refused.status, refused.problem) == (412, "version-mismatch")
    assert (await here.ask("PATCH", path, {"title": "Newest"}, If_Match="*")).body["title"] == "Newest"


@pytest.mark.both_databases(False)  # refused before any database is asked
@pytest.mark.parametrize(
    "patch",
    [{"care_unit": None}, {"starts_at": None}, {"care_unit": {"name": None}}, {"locked": True}, {"nonsense": 1}],
)
async def test_a_patch_that_does_not_fit_changes_nothing(here: Installation, patch: dict[str, Any]) -> None:
    visit = await here.book()
    before = await visit.room()
    reply = await here.ask("PATCH", visit.path, patch, If_Match="*")
    assert (reply.status, reply.problem) == (422, "invalid-body")
    assert await visit.room() == before


async def test_a_room_can_be_moved_and_its_links_keep_working(here: Installation) -> None:
    visit = await here.book()
    later = {"starts_at": "2026-03-05T09:00:00Z", "ends_at": "2026-03-05T09:30:00Z"}
    moved = await here.ask("PATCH", visit.path, later, If_Match="*")
    assert (moved.body["state"], moved.body["opens_at"]) == ("scheduled", "2026-03-05T08:45:00Z")
    early = await here.ask("POST", "/v1/sessions", {"invite": visit.links["Patient"]}, key="")
    assert (early.status, early.problem) == (409, "not-open-yet")
    assert early.body["opens_at"].startswith("2026-03-05T08:45:00")
    assert early.body["time_zone"] == "Europe/Stockholm", "what people are shown it in"
    await here.pass_time(days=2, hours=23, minutes=45)
    assert (await visit.room())["state"] == "open"
    await visit.comes("Patient")
    assert await visit.state("Patient") == "waiting"


async def test_max_participants_is_fixed_once_the_room_is_open(here: Installation) -> None:
    visit = await here.book()
    reply = await here.ask("PATCH", visit.path, {"max_participants": 4}, If_Match="*")
    assert (reply.status, reply.problem) == (409, "state-conflict")


async def test_a_cancelled_room_is_over_for_everyone(here: Installation) -> None:
    visit = await here.book()
    arrived = await visit.comes("Patient")
    assert (await here.ask("DELETE", visit.path)).status == 204
    assert (await here.ask("DELETE", visit.path)).status == 204
    assert (await visit.room())["state"] == "cancelled"
    for secret in ({"invite": visit.links["Relative"]}, {"resume": arrived.resume}):
        reply = await here.ask("POST", "/v1/sessions", secret, key="")
        assert reply.status == 410
    assert (await here.ask("PATCH", visit.path, {"title": "x"}, If_Match="*")).problem == "state-conflict"


async def test_a_room_in_progress_is_not_cancelled(here: Installation) -> None:
    visit = await here.book()
    await visit.host()
    await visit.admitted("Patient")
    assert (await visit.room())["state"] == "in_progress"
    reply = await here.ask("DELETE", visit.path)
    assert (reply.status, reply.problem) == (409, "state-conflict")


async def test_another_tenants_things_are_not_there(here: Installation) -> None:
    visit = await here.book()
    south = await here.new_key("south")
    for method, path, body in (
        ("GET", visit.path, None),
        ("PATCH", visit.path, {"title": "x"}),
        ("DELETE", visit.path, None),
        ("POST", f"{visit.path}/participants", {"role": "other", "display_name": "x"}),
        ("GET", visit.of("Patient"), None),
        ("POST", visit.of("Patient") + "/admit", {}),
        ("POST", visit.of("Patient") + "/sessions", {}),
        ("POST", f"{visit.path}/end", {}),
        ("GET", "/v1/rooms/room_nothing", None),
        ("GET", f"{visit.path}/participants/part_nothing", None),
    ):
        reply = await here.ask(method, path, body, key=south, If_Match="*")
        assert (reply.status, reply.problem) == (404, "not-found"), path
    assert (await here.ask("GET", "/v1/rooms", key=south)).body["items"] == []
