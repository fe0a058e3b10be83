"""How the pages are built: small screens, tap targets, contrast, and the pure functions behind the layout."""

from __future__ import annotations

from typing import Any

import pytest
from vardrum.tests.support.page import Page
from vardrum.tests.support.portal import Portal
from vardrum.tests.support.shape import fits
from vardrum.tests.support.tabs import Window
from vardrum.tests.support.visit import DOCTOR, NO_DOCUMENTS, PATIENT, admit, arrive, until


@pytest.mark.timeout(120)
async def test_every_screen_fits_from_320_px_up_and_can_be_read(portal: Portal, window: Window) -> None:
    doctor, patient = await portal.book([DOCTOR, PATIENT], **NO_DOCUMENTS)
    host, page = await window.open(doctor.name), await window.open(patient.name)
    await page.tab.goto(patient.join_url)
    await page.wait_for("join")
    await fits(page)
    await page.click("join")
    await until(page, "waiting")
    await fits(page)
    await arrive(host, await portal.vouched_url(doctor), into="admitted")
    await host.wait_for("queue-entry")
    await fits(host)
    await admit(host, patient)
    await until(page, "admitted")
    await page.click("panel-chat")
    await fits(page)
    await fits(host)
    await host.click("end")
    await host.click("confirm-end")
    await until(page, "ended")
    await fits(page)


async def test_tiles_never_overlap_nor_leave_the_stage(modules: Page) -> None:
    found: list[Any] = await modules.evaluate("""import('/static/js/layout.js').then(({ arrange }) => {
      const wrong = [];
      for (const [width, height] of [[300, 420], [374, 640], [888, 648], [1600, 700], [120, 80]]) {
        for (let count = 0; count <= 16; count++) {
          for (const main of [-1, 0, count - 1]) {
            const { tiles, self } = arrange({ width, height }, count, { main, self: 16 / 9 });
            const all = [...tiles, ...(self ? [self] : [])];
            const out = all.some((t) => t.x < -0.5 || t.y < -0.5 || t.x + t.width > width + 0.5
              || t.y + t.height > height + 0.5 || !(t.width > 0) || !(t.height > 0));
            const cross = tiles.some((a, i) => tiles.some((b, j) => i < j && a.x < b.x + b.width - 0.5
              && b.x < a.x + a.width - 0.5 && a.y < b.y + b.height - 0.5 && b.y < a.y + a.height - 0.5));
            if (out || cross || tiles.length !== count) wrong.push([width, height, count, main, out, cross]);
          }
        }
      }
      return wrong;
    })""")
    assert found == []


async def test_a_wish_is_the_shorter_side_as_drawn(modules: Page) -> None:
    found = await modules.evaluate("""import('/static/js/wishes.js').then(({ wishedHeight: w }) => [
      w({ width: 640, height: 360 }, { width: 640, height: 360 }, 1, true),
      w({ width: 640, height: 360 }, { width: 320, height: 180 }, 1, true),
      w({ width: 200, height: 112 }, { width: 640, height: 360 }, 1, true),
      w({ width: 200, height: 112 }, { width: 640, height: 360 }, 3, true),
      w({ width: 374, height: 600 }, { width: 640, height: 360 }, 1, true),
      w({ width: 374, height: 600 }, { width: 640, height: 360 }, 1, false),
      w({ width: 374, height: 600 }, { width: 360, height: 640 }, 1, true),
      w({ width: 640, height: 360 }, { width: 0, height: 0 }, 1, true),
    ])""")
    assert found == [360, 360, 180, 360, 540, 180, 360, 360]


async def test_only_the_microphones_section_of_an_answer_is_edited(modules: Page) -> None:
    sdp = "\\r\\n".join(
        (
            "v=0",
            "m=audio 9 UDP/TLS/RTP/SAVPF 111 63",
            "a=rtpmap:111 opus/48000/2",
            "a=rtpmap:63 red/48000/2",
            "m=video 9 UDP/TLS/RTP/SAVPF 96",
            "m=audio 9 UDP/TLS/RTP/SAVPF 111 63",
            "",
        )
    )
    plain, red, slow = await modules.evaluate(f"""import('/static/js/answer.js').then(({{ editAnswer: e }}) => {{
      const sdp = "{sdp}";
      const twice = e(e(sdp, {{ ptime: 60 }}), {{ ptime: 60 }});
      return [e(sdp, {{ ptime: 20, red: false }}), e(sdp, {{ red: true }}), twice];
    }})""")
    original = sdp.replace("\\r\\n", "\r\n")
    assert plain == original
    assert red == original.replace("SAVPF 111 63", "SAVPF 63 111", 1)
    assert slow == original.replace("red/48000/2\r\n", "red/48000/2\r\na=ptime:60\r\n", 1)


async def test_whoever_knocks_in_the_moment_in_which_another_gives_up_is_told_of(modules: Page) -> None:
    told = await modules.evaluate("""import('/static/js/people.js').then(({ People }) => {
      const none = { others: [], participants: [], locked: false, video: true, can: () => true };
      const visit = Object.assign(new EventTarget(), none, { queue: [] });
      const people = new People(visit, {});
      const spoken = people.element.querySelector('.unseen');
      const told = [];
      for (const names of [['Ada'], ['Bo'], ['Bo', 'Cy'], ['Cy'], []]) {
        visit.queue = names.map((name) => ({
          session: name, participant: name, display_name: name, role: 'patient', since: new Date().toISOString(),
          state: 'waiting', identity: null, connection: 'connected',
        }));
        spoken.textContent = '';
        people.update();
        told.push(spoken.textContent);
      }
      return told;
    })""")
    assert told == ["Ada is in the waiting room", "Bo is in the waiting room", "Cy is in the waiting room", "", ""]
