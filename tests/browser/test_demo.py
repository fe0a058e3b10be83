"""What `make run` ends in: three links that work as they are printed."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from vardrum.tests.conftest import Browsers
from vardrum.tests.support.portal import Invited, Portal
from vardrum.tests.support.server import Server
from vardrum.tests.support.visit import admit, arrive, meets


@pytest.mark.timeout(180)
async def test_the_links_of_the_demonstration_lead_into_one_visit(tmp_path: Path, browsers: Browsers) -> None:
    async with Server(tmp_path / "demo", command="demo") as demo:
        links = [demo.ready[f"{who}_url"] for who in ("staff", "patient", "relative")]
        printed = demo.process.output()
        assert all(link in printed for link in links)
        async with Portal(demo.http, demo.ready["api_key"]) as portal:
            room = await portal.call("GET", f"/v1/rooms/{demo.ready['room']}")
        by_role = {one["role"]: one for one in room["participants"]}
        staff, patient, relative = (
            Invited(by_role[role]["id"], room["id"], by_role[role]["display_name"], link)
            for role, link in zip(("caregiver", "patient", "relative"), links, strict=True)
        )
        host = await browsers.chromium(staff.name, width=1280)
        first = await browsers.chromium(patient.name, voice="sv")
        second = await browsers.chromium(relative.name)
        await arrive(host, staff.join_url, into="admitted")
        await asyncio.gather(arrive(first, patient.join_url), arrive(second, relative.join_url))
        await admit(host, patient)
        await admit(host, relative)
        await meets(host, patient, relative)
        await meets(first, staff, relative)
        await meets(second, staff, patient)
