"""A visit as people have it: gestures on the real pages, and what they may expect of each other."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from .page import Page
from .portal import Invited, Portal
from .sound import listen

DOCTOR: dict[str, Any] = {"display_name": "Dr Asp", "role": "caregiver", "host": True}
PATIENT: dict[str, Any] = {"display_name": "Pia Patient", "role": "patient"}
RELATIVE: dict[str, Any] = {"display_name": "Rut Relative", "role": "relative"}
INTERPRETER: dict[str, Any] = {"display_name": "Ivo Interpreter", "role": "interpreter"}

# What is tried here is media, not documents; how people are identified has tests of its own.
NO_DOCUMENTS = {"identity_policy": {"patient": "none"}}


async def state(page: Page) -> str:
    """Where the page says that its person is."""
    return str(await page.evaluate("window.vardrum?.state ?? ''"))


async def until(page: Page, wanted: str, *, deadline: float = 20.0) -> None:
    """Until the page is in the state `wanted`."""
    await page.until(wanted, deadline=deadline)


async def arrive(page: Page, url: str, *, into: str = "waiting") -> None:
    """Open a link, check the devices, press join."""
    await page.arrive(url, into=into)


async def admit(host: Page, who: Invited) -> None:
    """A host lets somebody in, by the button beside their name."""
    await host.admit(who.id)


async def leave(page: Page) -> None:
    """Press leave, and mean it."""
    await page.click("leave", within='[data-testid="room"]')
    await page.click("confirm-leave")
    await until(page, "left")


async def shown(page: Page) -> dict[str, dict[str, Mapping[str, Any]]]:
    """Who is in which of this page's slots: participant to source to the slot."""
    found: dict[str, dict[str, Mapping[str, Any]]] = {}
    for slot in await page.evaluate("window.vardrum?.slots ?? []"):
        found.setdefault(slot["participant"], {})[slot["source"]] = slot
    return found


async def meets(page: Page, *others: Invited, deadline: float = 20.0) -> dict[str, dict[str, Mapping[str, Any]]]:
    """Until the page has a live picture and sound of each of `others`, and of nobody else; its slots then."""

    async def met() -> bool:
        slots = await shown(page)
        assert set(slots) == {one.id for one in others}, f"slots: {slots}"
        sample = await page.evaluate("recorder.sample()")
        assert sample is not None, "no connection"
        for one in others:
            camera, microphone = slots[one.id].get("camera"), slots[one.id].get("microphone")
            assert camera, f"{one.name} has no picture"
            assert camera["picture"] == "live", f"{one.name}: picture {camera['picture']}"
            assert microphone, f"{one.name} has no sound"
            heard = sample["inbound"].get(microphone["mid"], {}).get("packets", 0)
            assert heard > 0, f"no sound of {one.name} yet"
        return True

    await page.wait(met, f"{page.name} sees and hears {', '.join(one.name for one in others)}", deadline=deadline)
    return await shown(page)


async def come(portal: Portal, host: Page, *guests: Page) -> list[Invited]:
    """The doctor is in, and as many others as there are pages wait; who they are."""
    people = await portal.book([DOCTOR, *(PATIENT, RELATIVE, INTERPRETER)[: len(guests)]], **NO_DOCUMENTS)
    await arrive(host, await portal.vouched_url(people[0]), into="admitted")
    await asyncio.gather(*(arrive(page, one.join_url) for page, one in zip(guests, people[1:], strict=True)))
    return people


async def gather_visit(portal: Portal, host: Page, *guests: Page) -> list[Invited]:
    """The doctor and as many others as there are pages, all seeing and hearing each other; who they are."""
    people = await come(portal, host, *guests)
    for one in people[1:]:
        await admit(host, one)
    for page, me in zip((host, *guests), people, strict=True):
        await meets(page, *(one for one in people if one is not me))
        await listen(page)
    return people
