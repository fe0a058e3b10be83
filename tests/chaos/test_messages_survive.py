"""kill -9 while an e-mail is on its way: it arrives, and whoever gets it twice can tell that it is one."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from vardrum.tests.support.logs import leaks
from vardrum.tests.support.portal import Portal, create_key
from vardrum.tests.support.post import MailServer
from vardrum.tests.support.server import Server
from vardrum.tests.support.wait import wait_until

PEOPLE = [
    {"role": "patient", "display_name": f"Patient {n}", "email": f"patient{n}@mail.example", "notify": True}
    for n in range(6)
]


@pytest.mark.timeout(120)
async def test_a_killed_server_sends_what_nobody_knows_to_have_gone_and_nothing_else_again(tmp_path: Path) -> None:
    async with MailServer(tmp_path) as mail:
        env = {f"VARDRUM_SMTP__{key.upper()}": str(value) for key, value in mail.settings.items()}
        server = await Server(tmp_path / "data", env=env).start()
        soon = datetime.now(UTC) + timedelta(hours=2)
        async with Portal(server.http, await create_key(server)) as portal:
            times = {"starts_at": soon.isoformat(), "ends_at": (soon + timedelta(hours=1)).isoformat()}
            await portal.book(PEOPLE[:3], **times)
            await wait_until(lambda: len(mail.mails) == 3, deadline=30, what="the first three")

            # Of the next, the mail server has the content, and the answer never comes.
            hanging, never = asyncio.Event(), asyncio.Event()

            async def hang() -> None:
                hanging.set()
                await never.wait()

            mail.before_answer = hang
            await portal.book(PEOPLE[3:], **times)
            await hanging.wait()
            await server.kill()
            told = portal.told
        mail.before_answer = None
        never.set()
        await server.start()
        await wait_until(
            lambda: {one.to for one in mail.mails[3:]} >= {one["email"] for one in PEOPLE[3:]},
            deadline=30,
            what="the others",
        )
        await server.stop()
        assert leaks(server.process.output(10_000_000), told | {str(one["email"]) for one in PEOPLE}) == []
    ids: dict[str, list[str]] = {}
    for one in mail.mails:
        ids.setdefault(one.to, []).append(str(one.message["Message-ID"]))
    assert all(len(set(each)) == 1 for each in ids.values()), "the same message has the same id"
    assert [len(ids[str(one["email"])]) for one in PEOPLE[:3]] == [1, 1, 1], (
        "what is known to have gone isn't sent again"
    )
    assert len({each[0] for each in ids.values()}) == 6
