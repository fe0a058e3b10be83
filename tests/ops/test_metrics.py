"""What operators look at exists: dashboard and alerts against a real server in front of a real Prometheus."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml
from aiohttp import ClientSession
from prometheus_client.parser import text_string_to_metric_families
from vardrum.bench.aiortc_client import AiortcClient
from vardrum.tests.support.certificates import Certificates
from vardrum.tests.support.portal import Portal, create_key
from vardrum.tests.support.prometheus import CONFIG, Prometheus, promtool
from vardrum.tests.support.server import Server
from vardrum.tests.support.visit import DOCTOR, NO_DOCUMENTS, PATIENT
from vardrum.tests.support.wait import wait_until

# Both ways to people are set up, so that their figures exist; nobody is told anything here.
MESSAGES = {
    "VARDRUM_SMTP__HOST": "127.0.0.1",
    "VARDRUM_SMTP__TLS": "none",
    "VARDRUM_SMTP__SENDER": "Region <noreply@region.example>",
    "VARDRUM_SMS__URL": "http://127.0.0.1:9/",
}
# Every label that there is, and what its values may look like; none of them grows with people, visits or portals.
LABELS = {
    "generation": r"[0-2]",
    "implementation": r"\w+",
    "layer": r"[0-2]",
    "le": r"[\d.e+-]+|\+Inf",
    "major": r"\d+",
    "method": r"GET|POST|PUT|PATCH|DELETE|other",
    "minor": r"\d+",
    "mode": r"plain|joined|speakers",
    "patchlevel": r"\d+",
    "reason": r"[a-z_]+",
    "route": r"none|/[a-z0-9_{}./-]*",
    "shard": r"\d",
    "source": r"camera|screen",
    "state": r"waiting|identifying|admitted",
    "status": r"\d{3}",
    "version": r"[\w.+]+",
}
# A name of ours, with the labels it is chosen by.
SELECTOR = re.compile(r"(?<![\w\"])(?:vardrum|process)_\w+(?:\{[^}]*\})?")
# Prometheus's own, beside ours.
ADDED = {"instance", "job"}
DASHBOARD = CONFIG / "grafana-dashboard.json"


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    async with Server(tmp_path / "server", env=MESSAGES) as started:
        yield started


@pytest.fixture
async def prometheus(tmp_path: Path) -> AsyncIterator[Prometheus]:
    certificates = Certificates(tmp_path / "tls")
    certificates.use(certificates.make())
    async with Server(tmp_path / "watched", env={**MESSAGES, **certificates.env}) as server:
        target = server.ready["metrics"].removeprefix("http://").removesuffix("/metrics")
        async with Prometheus(tmp_path / "prometheus", target) as started:
            yield started


async def scrape(server: Server) -> str:
    async with ClientSession() as http, http.get(server.ready["metrics"]) as answer:
        return await answer.text()


def alerts() -> list[dict[str, Any]]:
    (group,) = yaml.safe_load((CONFIG / "alerts.yml").read_text())["groups"]
    rules: list[dict[str, Any]] = group["rules"]
    return rules


def panels() -> Iterator[dict[str, Any]]:
    """Of the dashboard, rows left out."""
    return (one for one in json.loads(DASHBOARD.read_text())["panels"] if one["type"] != "row")


def expressions() -> list[str]:
    """Of all panels and alerts, with the dashboard's variables as they are at first."""
    shown = [target["expr"] for panel in panels() for target in panel["targets"]]
    filled = [one.replace("$instance", ".*").replace("$__rate_interval", "1m") for one in shown]
    return [*filled, *(rule["expr"] for rule in alerts())]


async def test_every_figure_of_dashboard_and_alerts_is_exported(prometheus: Prometheus) -> None:
    for expression in expressions():
        await prometheus.query(expression)
        for labels in re.findall(r"\b(?:by|on) \(([^)]*)\)", expression):
            assert set(labels.split(", ")) <= LABELS.keys() | ADDED, expression
        selectors = SELECTOR.findall(expression)
        assert selectors or "__name__" in expression or expression.startswith("up"), expression
        for selector in selectors:
            # Before the first error there is no series of errors.
            if "status=" not in selector and "vardrum_http_" not in selector:
                # A scrape that came too late on a busy machine hides all series until the next one.
                await wait_until(partial(prometheus.query, selector), deadline=20, what=f"{selector} is exported")
            else:
                assert await prometheus.ask("metadata", metric=selector.partition("{")[0].removesuffix("_bucket"))


async def test_prometheus_takes_rules_and_finds_nothing_wrong_with_a_server_at_rest(prometheus: Prometheus) -> None:
    async def evaluated() -> bool:
        (group,) = (await prometheus.ask("rules"))["groups"]
        assert [rule["name"] for rule in group["rules"]] == [rule["alert"] for rule in alerts()]
        assert all(rule["health"] == "ok" for rule in group["rules"]), group["rules"]
        # A busy machine may be slow for a moment; what wakes somebody lasts.
        assert all(rule["state"] != "firing" for rule in group["rules"]), group["rules"]
        return True

    await wait_until(evaluated, deadline=30, what="all rules were evaluated")


async def test_figures_keep_the_conventions_and_name_nobody_after_a_visit(server: Server) -> None:
    async with Portal(server.http, await create_key(server)) as portal:
        invited = await portal.book([DOCTOR, PATIENT], **NO_DOCUMENTS)
        people = [
            AiortcClient(portal.base, number, secret={"invite": one.join_url.partition("#")[2]})
            for number, one in enumerate(invited)
        ]
        try:
            for client, one in zip(people, invited, strict=True):
                await client.arrive()
                if client.state == "waiting":
                    await portal.act(one, "admit")
                await client.join()

            async def counted() -> bool:
                return "vardrum_live_join_seconds_count 2.0\n" in await scrape(server)

            await wait_until(counted, deadline=20, what="two have joined")
            text = await scrape(server)
        finally:
            await asyncio.gather(*(client.close() for client in people))
    assert "vardrum_live_welcome_seconds_count 2.0\n" in text
    assert re.search(r"^vardrum_live_waiting_seconds_count [12].0$", text, re.MULTILINE)
    assert 'vardrum_live_participants{state="admitted"} 2.0\n' in text
    assert not re.search(r"^vardrum_database_commit_seconds_count 0.0$", text, re.MULTILINE)
    assert await promtool("check", "metrics", stdin=text.encode()) == (0, "")
    for family in text_string_to_metric_families(text):
        words = family.name.split("_", 2)[2].replace("_", " ") if family.name.startswith("vardrum_") else ""
        assert family.documentation != words, f"what does {family.name} mean?"
        for sample in family.samples:
            for label, value in sample.labels.items():
                assert label in LABELS, f"{sample.name} has a new label {label}: is it bounded?"
                assert re.fullmatch(LABELS[label], value), f'{sample.name}{{{label}="{value}"}}'
    for one in invited:
        assert one.id not in text
        assert one.room not in text


async def test_promtool_finds_rules_and_example_right() -> None:
    for what in (("rules", "alerts.yml"), ("config", "prometheus.yml")):
        status, said = await promtool("check", what[0], str(CONFIG / what[1]))
        assert status == 0, said


async def test_alerts_fire_when_they_should_and_only_then() -> None:
    # Series over virtual time, and what they must lead to: read the file to see what an alert takes.
    status, said = await promtool("test", "rules", str(Path(__file__).with_name("alerts_over_time.yml")))
    assert status == 0, said
    tried = Path(__file__).with_name("alerts_over_time.yml").read_text()
    assert [one["alert"] for one in alerts() if f'"{one["alert"]}"' not in tried] == []


@pytest.mark.parametrize("rule", alerts(), ids=lambda rule: str(rule["alert"]))
def test_an_alert_says_what_is_so_and_what_to_do(rule: dict[str, Any]) -> None:
    assert rule["labels"]["severity"] in ("page", "ticket")
    assert rule["annotations"].keys() == {"summary", "action"}
    assert all(len(text) > 20 for text in rule["annotations"].values())


def test_the_dashboard_has_a_row_for_each_part_and_no_panel_over_another() -> None:
    dashboard = json.loads(DASHBOARD.read_text())
    rows = [one["title"] for one in dashboard["panels"] if one["type"] == "row"]
    assert rows == ["Visits", "Joining and waiting", "Media", "Loss", "Engine", "Database", "Webhooks"]
    ids = [one["id"] for one in dashboard["panels"]]
    assert len(ids) == len(set(ids))
    places: set[tuple[int, int]] = set()
    for one in dashboard["panels"]:
        at = one["gridPos"]
        taken = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not places & taken, one["title"]
        assert at["x"] + at["w"] <= 24
        places |= taken
