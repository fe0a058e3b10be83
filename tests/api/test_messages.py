"""Invitations and reminders: who gets which, when, by what, and what they don't say."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs
from vardrum.control.notify import outbox
from vardrum.control.store import models
from vardrum.tests.api.installation import START, Installation, Visit
from vardrum.tests.support.logs import leaks
from vardrum.tests.support.post import OK, Mail, MailServer, SmsGateway
from vardrum.tests.support.wait import wait_until

ADDRESS, NUMBER = "pia.patient@mail.example", "+46701740605"
DAY = timedelta(days=1)


@pytest.fixture
async def mail(tmp_path: Path) -> AsyncIterator[MailServer]:
    """A mail server that wants STARTTLS and a password."""
    async with MailServer(tmp_path) as server:
        yield server


@pytest.fixture
async def gateway() -> AsyncIterator[SmsGateway]:
    """An SMS gateway."""
    async with SmsGateway() as server:
        yield server


def settings(mail: MailServer | None = None, gateway: SmsGateway | None = None, **sms: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if mail is not None:
        found["smtp"] = mail.settings
    if gateway is not None:
        found["sms"] = {"url": gateway.url, **sms}
    return found


@pytest.fixture
async def here(tmp_path: Path, mail: MailServer, gateway: SmsGateway) -> AsyncIterator[Installation]:
    """An installation that sends both."""
    async with Installation(tmp_path / "data", settings(mail, gateway)) as installation:
        yield installation


def person(**fields: Any) -> dict[str, Any]:
    return {"role": "patient", "display_name": "Patient", "email": ADDRESS, "notify": True, **fields}


async def book(here: Installation, at: datetime = START + 3 * DAY, *, who: Any = None, **fields: Any) -> Visit:
    people = [{"role": "caregiver", "display_name": "Doctor", "host": True}, who or person()]
    times = {"starts_at": at.isoformat(), "ends_at": (at + timedelta(minutes=30)).isoformat()}
    return await here.book(participants=people, **times, **fields)


async def mails(server: MailServer, count: int) -> list[Mail]:
    """The first `count`, and there are no more."""
    await wait_until(lambda: len(server.mails) >= count, deadline=30, what=f"{count} e-mails", every=0.02)
    assert len(server.mails) == count
    return server.mails


async def rows(here: Installation) -> list[tuple[str, str, str]]:
    """(kind, channel, state) of every message, in the order they were made."""
    async with here.app.store.read() as db:
        found = await db.run_sync(lambda one: one.query(models.Message).order_by(models.Message.id).all())
        return [(one.kind, one.channel, one.state) for one in found]


async def settled(here: Installation) -> list[tuple[str, str, str]]:
    """The same, once nothing is due any more."""
    now = here.now

    async def quiet() -> bool:
        async with here.app.store.read() as db:
            found = await db.run_sync(lambda one: one.query(models.Message).all())
            return not [m for m in found if m.state == "sending" or (m.state == "waiting" and m.due_at <= now)]

    deadline = asyncio.get_running_loop().time() + 30
    while not await quiet():
        assert asyncio.get_running_loop().time() < deadline, "messages are still due"
        await asyncio.sleep(0.02)
    return await rows(here)


async def kept_links(here: Installation) -> int:
    async with here.app.store.read() as db:
        found = await db.run_sync(lambda one: one.query(models.Participant).all())
        return sum(one.link_sealed is not None for one in found)


async def test_who_is_to_be_told_gets_the_link_at_once_and_a_reminder_the_day_before(
    here: Installation, mail: MailServer, gateway: SmsGateway
) -> None:
    visit = await book(here, who=person(phone=NUMBER))
    [invitation] = await mails(mail, 1)
    await wait_until(lambda: gateway.requests, deadline=30, what="the SMS")
    assert (invitation.to, invitation.encrypted, invitation.login) == (ADDRESS, True, "vardrum")
    link = f"https://video.example.org/j/north#{visit.links['Patient']}"
    assert link in invitation.text
    assert "videomöte torsdag 5 mars 2026 kl. 10:00 (Europe/Stockholm)" in invitation.text
    assert gateway.requests[0].body == {
        "to": NUMBER,
        "text": "Bokad tid: videomöte torsdag 5 mars kl. 10:00. Din personliga länk, skicka den inte vidare:\n" + link,
    }
    assert await kept_links(here) == 1
    await here.pass_time(hours=48)
    reminder = (await mails(mail, 2))[1]
    assert link in reminder.text
    assert str(reminder.message["Subject"]) == "Påminnelse: videomöte torsdag 5 mars kl. 10:00"
    assert await settled(here) == [
        (kind, channel, "sent") for kind in ("invitation", "reminder") for channel in ("email", "sms")
    ]
    assert await kept_links(here) == 0, "the last message with it has gone"
    await here.pass_time(hours=24)
    assert (len(mail.mails), len(gateway.requests)) == (2, 2)


async def test_a_mail_says_nothing_of_anybody_and_wants_no_answer(here: Installation, mail: MailServer) -> None:
    await book(here, care_unit={"name": "Ward 7 for hearts"}, title="Heart failure", patient_ref="ref-1")
    [one] = await mails(mail, 1)
    whole = one.message.as_string() + one.text
    for word in ("Ward 7", "Heart", "ref-1", "Doctor", "Patient"):
        assert word not in whole
    assert one.message["From"] == "Videomöte <noreply@region.example>"
    assert one.message["Auto-Submitted"] == "auto-generated"
    assert one.message.get_content_type() == "text/plain"


@pytest.mark.parametrize(
    ("spoken", "room", "says"),
    [
        ("en-GB", "sv", "phone meeting Thursday 5 March 2026 at 10:00"),
        ("fi", "sv", "puhelintapaaminen torstaina 5. maaliskuuta 2026 klo 10.00"),
        ("ar", "sv", "الخميس 5 مارس 2026 الساعة 10:00"),
        (None, "en", "Thursday 5 March"),
        ("so", "so", "torsdag 5 mars"),
    ],
)
async def test_people_are_written_to_in_their_language_then_the_rooms_then_swedish(
    here: Installation, mail: MailServer, spoken: str | None, room: str, says: str
) -> None:
    who = person(**({"language": spoken} if spoken else {}))
    await book(here, who=who, language=room, form="phone")
    assert says in (await mails(mail, 1))[0].text


async def test_nobody_is_told_who_isnt_to_be_or_for_practice(here: Installation, mail: MailServer) -> None:
    await book(here, who=person(notify=False))
    await book(here, training=True)
    who = person()
    del who["email"]
    await book(here, who=who)
    assert await rows(here) == []
    assert await kept_links(here) == 0


async def test_a_visit_that_is_soon_has_no_reminder_right_after_its_invitation(here: Installation) -> None:
    await book(here, START + timedelta(hours=24, minutes=30))
    assert await settled(here) == [("invitation", "email", "sent")]


async def test_a_moved_visit_is_told_with_its_new_time_and_the_reminder_moves(
    here: Installation, mail: MailServer
) -> None:
    visit = await book(here)
    await mails(mail, 1)
    at = START + 10 * DAY
    times = {"starts_at": at.isoformat(), "ends_at": (at + timedelta(minutes=30)).isoformat()}
    assert (await here.ask("PATCH", visit.path, times, If_Match="*")).status == 200
    moved = (await mails(mail, 2))[1]
    assert "Ny tid: videomöte torsdag 12 mars 2026 kl. 10:00" in moved.text
    assert visit.links["Patient"] in moved.text
    await here.pass_time(days=8)
    assert (await here.ask("PATCH", visit.path, {"title": "Another"}, If_Match="*")).status == 200
    await here.pass_time(days=1)
    assert "Vi påminner" in (await mails(mail, 3))[2].text
    # The link has been forgotten by now; who is told once more still has it.
    times = {"ends_at": (at + timedelta(days=5, minutes=30)).isoformat(), "starts_at": (at + 5 * DAY).isoformat()}
    await here.ask("PATCH", visit.path, times, If_Match="*")
    last = (await mails(mail, 4))[3]
    assert "som du redan har fått" in last.text
    assert visit.links["Patient"] not in last.text


async def test_a_cancelled_visit_is_told_once_to_who_was_told_of_it(here: Installation, mail: MailServer) -> None:
    visit, unheard = await book(here), None
    await mails(mail, 1)
    for _ in range(2):
        await here.ask("DELETE", visit.path)
    cancelled = (await mails(mail, 2))[1]
    assert "Inställt: videomöte" in str(cancelled.message["Subject"])
    assert visit.links["Patient"] not in cancelled.text
    mail.answer = lambda _: "451 later"
    unheard = await book(here)
    await wait_until(lambda: here.app.outbox.metrics()["email_failed"], deadline=30, what="a failure")
    await here.ask("DELETE", unheard.path)
    mail.answer = lambda _: OK
    await here.pass_time(hours=1)
    assert [state for *_, state in await settled(here)] == ["sent", "sent"]
    assert len(mail.mails) == 2
    assert await kept_links(here) == 0


async def test_who_was_withdrawn_or_is_there_already_hears_nothing_more(here: Installation, mail: MailServer) -> None:
    visit, other = await book(here), await book(here, START + timedelta(hours=25, minutes=5))
    await mails(mail, 2)
    assert (await here.ask("DELETE", visit.of("Patient"))).status == 204
    assert (await here.ask("PATCH", other.of("Patient"), {"notify": False}, If_Match="*")).status == 200
    await here.pass_time(days=3)
    assert len(await settled(here)) == 2
    assert await kept_links(here) == 0


async def test_a_corrected_address_gets_the_invitation(here: Installation, mail: MailServer) -> None:
    visit = await book(here, who=person(email="wrong@mail.example"))
    await mails(mail, 1)
    assert (await here.ask("PATCH", visit.of("Patient"), {"email": ADDRESS}, If_Match="*")).status == 200
    again = (await mails(mail, 2))[1]
    assert again.to == ADDRESS
    assert visit.links["Patient"] in again.text


async def test_a_new_link_is_sent_and_the_old_one_never_again(here: Installation, mail: MailServer) -> None:
    visit = await book(here)
    await mails(mail, 1)
    fresh = (await here.ask("POST", visit.of("Patient") + "/link")).body["join_url"]
    assert fresh in (await mails(mail, 2))[1].text
    await here.pass_time(hours=48)
    assert fresh in (await mails(mail, 3))[2].text


async def test_what_a_server_refuses_for_now_is_tried_again_with_the_same_id(
    here: Installation, mail: MailServer, gateway: SmsGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "LOOK", 0.05)
    mail.answer, gateway.status = lambda _: "451 try later", 503
    await book(here, who=person(phone=NUMBER))
    figures = here.app.outbox.metrics
    await wait_until(lambda: figures()["email_failed"] and figures()["sms_failed"], deadline=30, what="failures")
    mail.answer, gateway.status = lambda _: OK, 200
    here.now += timedelta(minutes=1)
    await mails(mail, 1)
    await wait_until(lambda: len(gateway.requests) == 2, deadline=30, what="the second try")
    first, second = (one.headers["Idempotency-Key"] for one in gateway.requests)
    assert first == second
    assert {row for row in await settled(here) if row[0] == "invitation"} == {
        ("invitation", "email", "sent"),
        ("invitation", "sms", "sent"),
    }


async def test_what_never_can_be_sent_is_given_up_and_logged_without_the_address(
    here: Installation, mail: MailServer, gateway: SmsGateway, capfd: pytest.CaptureFixture[str]
) -> None:
    mail.answer, gateway.status = lambda one: f"550 no such user {one}", 400
    visit = await book(here, START + timedelta(hours=5), who=person(phone=NUMBER))
    assert await settled(here) == [("invitation", "email", "dead"), ("invitation", "sms", "dead")]
    assert await kept_links(here) == 0
    figures = here.app.outbox.metrics()
    assert (figures["email_dead"], figures["sms_dead"]) == (1, 1)
    printed: list[str] = []

    def said() -> bool:
        printed.extend(capfd.readouterr())
        return "".join(printed).count("a message was given up") == 2

    await wait_until(said, deadline=30, what="a line for each")
    for word in (ADDRESS, NUMBER, visit.links["Patient"]):
        assert word not in "".join(printed)


async def test_a_message_is_given_up_when_the_visit_has_begun_without_it(
    here: Installation, mail: MailServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "LOOK", 0.05)
    mail.answer = lambda _: "451 try later"
    await book(here, START + timedelta(hours=2))
    await wait_until(lambda: here.app.outbox.metrics()["email_failed"], deadline=30, what="a failure")
    here.now += timedelta(hours=2, minutes=16)
    mail.answer = lambda _: OK
    assert await settled(here) == [("invitation", "email", "skipped")]
    assert mail.mails == []


async def test_a_care_unit_says_what_it_is_called_adds_its_texts_and_turns_sms_off(
    here: Installation, mail: MailServer, gateway: SmsGateway
) -> None:
    texts = {"fee": {"sv": "Besöket kostar 250 kr."}, "physical_visit": {"sv": "Du kan också komma hit."}}
    chosen = {"functions": ["chat"], "neutral_name": "Region North", "texts": texts}
    assert (await here.ask("PUT", "/v1/care-units/Ward%207", chosen)).status == 200
    await book(here, who=person(phone=NUMBER))
    [one] = await mails(mail, 1)
    for words in ("Mötet är med Region North.", "Besöket kostar 250 kr.", "Du kan också komma hit."):
        assert words in one.text
    assert ("invitation", "sms", "skipped") in await settled(here)
    assert gateway.requests == []


async def test_somebody_invited_in_mid_visit_is_told_at_once(here: Installation, mail: MailServer) -> None:
    visit = await here.book()
    await here.pass_time(minutes=20)
    who = {"role": "interpreter", "display_name": "Ines", "email": ADDRESS, "notify": True}
    assert (await here.ask("POST", f"{visit.path}/participants", who)).status == 201
    assert len(await mails(mail, 1)) == 1


async def test_a_gateways_own_form_is_filled_in_and_no_text_becomes_structure(
    tmp_path: Path, gateway: SmsGateway
) -> None:
    (tmp_path / "headers").write_text("# of the region\nAuthorization: Bearer sesame\n")
    sms = {"format": "form", "method": "PUT", "headers_file": str(tmp_path / "headers")}
    template = {"body": "msisdn={to}&from=Region&message={text}&id={id}"}
    async with Installation(tmp_path / "data", settings(None, gateway, **sms, **template)) as here:
        await book(here, who=person(phone=NUMBER))
        await wait_until(lambda: gateway.requests, deadline=30, what="the SMS")
    [one] = gateway.requests
    assert (one.method, one.headers["Authorization"]) == ("PUT", "Bearer sesame")
    assert (one.body["msisdn"], one.body["from"]) == (NUMBER, "Region")
    assert one.body["message"].startswith("Bokad tid")
    assert one.body["id"].startswith("msg_")


async def test_a_redirect_of_the_gateway_is_not_followed(here: Installation, gateway: SmsGateway) -> None:
    gateway.status, gateway.location = 307, gateway.url.replace("/send", "/elsewhere")
    await book(here, who=person(phone=NUMBER))
    await wait_until(lambda: here.app.outbox.metrics()["sms_failed"], deadline=30, what="a failure")
    assert len(gateway.requests) == 1


async def test_mail_goes_encrypted_from_the_first_byte_where_so_set(tmp_path: Path) -> None:
    async with (
        MailServer(tmp_path, tls="tls") as server,
        Installation(tmp_path / "data", settings(server)) as here,
    ):
        await book(here)
        assert (await mails(server, 1))[0].encrypted


async def test_mail_does_not_go_to_a_server_with_another_certificate(tmp_path: Path, mail: MailServer) -> None:
    other = tmp_path / "other"
    other.mkdir()
    async with MailServer(other):
        pass
    overrides = {"smtp": {**mail.settings, "ca_file": str(other / "mail.pem")}}
    async with Installation(tmp_path / "data", overrides) as here:
        await book(here)
        await wait_until(lambda: here.app.outbox.metrics()["email_failed"], deadline=30, what="a failure")
    assert mail.mails == []


async def test_what_was_on_its_way_when_a_server_died_is_sent_again_and_a_reminder_isnt_twice_otherwise(
    tmp_path: Path, mail: MailServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    arrived, never = asyncio.Event(), asyncio.Event()

    async def hang() -> None:
        arrived.set()
        await never.wait()

    data = tmp_path / "data"
    async with Installation(data, settings(mail)) as here:
        mail.before_answer = hang
        await book(here)
        await arrived.wait()
        # As a killed process leaves it: nobody has answered, nothing is written down.
        way = here.app.outbox._ways[0]
        assert way._task is not None
        way._task.cancel()
        assert await rows(here) == [("invitation", "email", "sending"), ("reminder", "email", "waiting")]
    never.set()
    mail.before_answer = None
    for _ in range(2):
        async with Installation(data, settings(mail)) as here:
            here.now = START + 2 * DAY
            await settled(here)
            assert {state for *_, state in await rows(here)} == {"sent"}
    ids = [str(one.message["Message-ID"]) for one in mail.mails]
    assert len(ids) == 3
    assert len(set(ids)) == 2
    assert ids.count(ids[0]) == 2


async def test_an_address_that_the_mail_server_cannot_write_is_given_up(here: Installation, mail: MailServer) -> None:
    await book(here, START + timedelta(hours=5), who=person(email="jörgen@mail.example"))
    assert await settled(here) == [("invitation", "email", "dead")]
    await book(here, START + timedelta(hours=5), who=person(email="a/b=c@mail.example"))
    assert str((await mails(mail, 1))[0].message["To"]) == "a/b=c@mail.example"


async def test_an_address_that_is_corrected_while_the_wrong_one_is_written_to_gets_the_invitation(
    here: Installation, mail: MailServer
) -> None:
    taken, corrected = asyncio.Event(), asyncio.Event()

    async def wait() -> None:
        taken.set()
        await corrected.wait()

    mail.before_answer = wait
    visit = await book(here, who=person(email="wrong@mail.example"))
    async with asyncio.timeout(30):
        await taken.wait()
    mail.before_answer = None
    assert (await here.ask("PATCH", visit.of("Patient"), {"email": ADDRESS}, If_Match="*")).status == 200
    corrected.set()
    again = (await mails(mail, 2))[1]
    assert again.to == ADDRESS
    assert visit.links["Patient"] in again.text
    assert [state for kind, _, state in await settled(here) if kind == "invitation"] == ["sent", "sent"]


async def test_a_message_that_cannot_be_written_keeps_no_other_waiting(here: Installation, mail: MailServer) -> None:
    # As a time zone that the system's database no longer has.
    mail.answer = lambda _: "451 later"
    visit = await book(here, who=person(email="first@mail.example"))
    await wait_until(lambda: here.app.outbox.metrics()["email_failed"], deadline=30, what="a failure")
    async with here.app.store.write() as transaction:
        room = await transaction.db.get_one(models.Room, visit.id)
        room.time_zone = "Europe/Atlantis"
    mail.answer = lambda _: OK
    with capture_logs() as said:
        await book(here)
        await here.pass_time(minutes=1)
        assert (await mails(mail, 1))[0].to == ADDRESS
    assert [state for kind, _, state in await settled(here) if kind == "invitation"] == ["dead", "sent"]
    assert leaks("\n".join(json.dumps(one) for one in said), ["first@", ADDRESS, *visit.links.values()]) == []


@pytest.mark.parametrize(
    "address",
    [
        "=?utf-8?q?a=0D=0ABcc:_eve?=@mail.example",
        "=?utf-8?q?eve=40other.example=2C_b?=@mail.example",
        "eve<b@mail.example",
        "eve,b@mail.example",
        "a:eve@mail.example",
    ],
)
async def test_an_address_that_becomes_a_header_or_another_address_is_refused_and_never_written_to(
    here: Installation, mail: MailServer, address: str
) -> None:
    mail.answer = lambda _: "451 later"
    visit = await book(here)
    patch = await here.ask("PATCH", visit.of("Patient"), {"email": address}, If_Match="*")
    assert (patch.status, patch.pointers) == (422, {"#/email"})
    await wait_until(lambda: here.app.outbox.metrics()["email_failed"], deadline=30, what="a failure")
    # As an earlier version has taken it.
    async with here.app.store.write() as transaction:
        row = await transaction.db.get_one(models.Participant, visit.ids["Patient"])
        row.email_sealed = here.visits.contacts.seal(row.id, "email", address)
    mail.answer = lambda _: OK
    await here.pass_time(minutes=1)
    await wait_until(lambda: here.app.outbox.metrics()["email_dead"], deadline=30, what="a message to be given up")
    assert (mail.tried, mail.mails) == (0, [])


async def test_an_address_with_letters_of_any_alphabet_is_taken(here: Installation) -> None:
    for address in ("åsa.öberg+1@mail.example", "o'neil_{x}=y@mail.example", "\u0645\u0646\u0649@mail.example"):
        visit = await book(here, who=person(email=address, notify=False))
        assert (await here.ask("GET", visit.of("Patient"))).body["email"] == address
