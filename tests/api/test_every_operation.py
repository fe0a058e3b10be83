"""Every operation of the running server's own OpenAPI, as Schemathesis asks it: no 5xx, no answer outside its schema.

New operations are asked by themselves. The data are real: rooms, links, arrivals over the websocket. What is found says
how to replay it; `SCHEMATHESIS_SEED` begins where a former run began.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import random
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from vardrum.control.api.caller import Scope
from vardrum.tests.support.portal import ACTOR, Portal, create_key
from vardrum.tests.support.server import Server
from vardrum.tests.support.visit import DOCTOR, INTERPRETER, NO_DOCUMENTS, PATIENT, RELATIVE

SECONDS = int(os.environ.get("SCHEMATHESIS_SECONDS", "40"))
HOOKS = Path(__file__).with_name("schemathesis_hooks.py")
CONFIG = """
[checks.negative_data_rejection]
expected-statuses = [400, 401, 403, 404, 405, 409, 410, 412, 413, 415, 422, 428, 429]
[checks.missing_required_header]
expected-statuses = [401, 404, 412, 422]
"""
# What a schema can't say (a cursor of ours, an Idempotency-Key used before) is refused with 422 though it fits.
# Whether keys are asked for is a test of its own. Who deletes a room cancels it: it is still to be read.
LEFT_OUT = "positive_data_acceptance,ignored_auth,use_after_free"


class House:
    """A server with visits in all states, and people in them."""

    def __init__(self, server: Server, portal: Portal, key: str) -> None:
        self.server = server
        self.portal = portal
        self.key = key
        self.ids: dict[str, list[str]] = {}  # room: its participants

    async def fill(self, stack: AsyncExitStack) -> None:
        for count in range(4):
            people = [DOCTOR, PATIENT, RELATIVE, INTERPRETER]
            made = await self.portal.book(people, external_ref=f"booking-{count}", **NO_DOCUMENTS)
            doctor, patient, relative, _ = made
            self.ids[doctor.room] = [one.id for one in made]
            for one in (doctor, patient, relative):
                await self.arrive(stack, one.room, one.id)
            if count == 0:
                await self.portal.act(patient, "admit")
            if count == 3:
                await self.portal.call("POST", f"/v1/rooms/{doctor.room}/end", {})

    async def arrive(self, stack: AsyncExitStack, room: str, participant: str) -> None:
        token = (await self.portal.call("POST", f"/v1/rooms/{room}/participants/{participant}/sessions", {}))[
            "embed_token"
        ]
        session = await self.portal.call("POST", "/v1/sessions", {"embed_token": token}, key="")
        socket = await stack.enter_async_context(self.portal.http.ws_connect(session["websocket_url"]))
        await socket.send_json({"type": "hello", "token": session["token"], "device": {}})
        assert (await socket.receive_json())["type"] == "welcome"


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    server = Server(tmp_path / "server", env={"VARDRUM_HTTP__REFUSED_PER_MINUTE": "100000"})
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(server)
        key = await create_key(server, [str(one) for one in Scope])
        portal = await stack.enter_async_context(Portal(server.http, key))
        found = House(server, portal, key)
        await found.fill(stack)
        yield found


@pytest.mark.timeout(600)
async def test_no_operation_breaks_or_answers_outside_its_schema(
    house: House, tmp_path: Path, figure: Callable[[str], None]
) -> None:
    seed = int(os.environ.get("SCHEMATHESIS_SEED", random.randrange(2**32)))
    (tmp_path / "schemathesis.toml").write_text(CONFIG)
    (tmp_path / "ids.json").write_text(json.dumps(house.ids))
    # Each has its share of the time, so that a slow machine still does some of both; but all are asked.
    seconds = SECONDS * 2 // 3
    while (found := await _ask(house, tmp_path, seed, "coverage,fuzzing", seconds))["operations"]["skipped"]:
        seconds *= 2
    await _ask(house, tmp_path, seed, "stateful", SECONDS // 3)
    answers = Counter(json.loads(line)["status"] // 100 for line in (tmp_path / "answers").read_text().splitlines())
    figure(
        f"schemathesis: {found['operations']['tested']} operations, {answers.total()} requests "
        f"({', '.join(f'{count} {kind}xx' for kind, count in sorted(answers.items()))}), SCHEMATHESIS_SEED={seed}"
    )
    assert found["operations"]["tested"] == found["operations"]["total"]
    assert "a request failed" not in house.server.process.output(1_000_000)
    assert answers[2] > 0, "nothing but refusals"


async def _ask(house: House, scratch: Path, seed: int, phases: str, seconds: int) -> Any:
    """One run; its report."""
    actor = base64.urlsafe_b64encode(json.dumps(ACTOR).encode()).decode().rstrip("=")
    report = scratch / f"{phases}.json"
    child = await asyncio.create_subprocess_exec(
        str(Path(sys.executable).with_name("schemathesis")),
        *("--config-file", str(scratch / "schemathesis.toml")),
        *("run", house.server.http + "/openapi.json", "--no-color", "--seed", str(seed)),
        *("--phases", phases, "--max-time", str(seconds)),
        *("--checks", "all", "--exclude-checks", LEFT_OUT, "--continue-on-failure"),
        *("-H", f"Authorization: Bearer {house.key}", "-H", f"Vardrum-Actor: {actor}"),
        *("--report", "json", "--report-json-path", str(report)),
        cwd=scratch,
        env={**os.environ, "SCHEMATHESIS_HOOKS": str(HOOKS), "SCHEMATHESIS_IDS": str(scratch / "ids.json")},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    printed, _ = await child.communicate()
    assert child.returncode == 0, f"SCHEMATHESIS_SEED={seed}\n{printed.decode()}"
    print(printed.decode())
    return json.loads(report.read_text())
