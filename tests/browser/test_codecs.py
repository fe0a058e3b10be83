"""Who can't decode VP8 sees the others all the same: their browsers are asked for another codec, and send it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from vardrum.tests.conftest import Browsers
from vardrum.tests.support.page import Page
from vardrum.tests.support.portal import Portal
from vardrum.tests.support.visit import DOCTOR, NO_DOCUMENTS, PATIENT, admit, arrive, meets

# The page's offer as that of a browser without these codecs: what is not offered is never sent to it.
WITHOUT = """((codecs) => {
  const send = WebSocket.prototype.send;
  WebSocket.prototype.send = function (text) {
    const edited = codecs.reduce((all, codec) => all.replaceAll(` ${codec}/90000`, ` X-${codec}/90000`), text);
    return send.call(this, edited);
  };
})"""
RECEIVED = """(async () => {
  const found = new Set();
  for (const connection of recorder.connections) {
    const stats = [...(await connection.getStats()).values()];
    for (const one of stats.filter((one) => one.type === "inbound-rtp" && one.framesDecoded > 0)) {
      found.add(stats.find((codec) => codec.id === one.codecId)?.mimeType);
    }
  }
  return [...found];
})()"""


@pytest.mark.timeout(120)
@pytest.mark.parametrize(("missing", "expected"), [(["VP8"], "video/H264"), (["VP8", "H264", "VP9"], "video/AV1")])
async def test_who_lacks_a_codec_is_sent_another(
    portal: Portal, browsers: Browsers, figure: Callable[[str], None], missing: list[str], expected: str
) -> None:
    doctor, patient = await portal.book([DOCTOR, PATIENT], **NO_DOCUMENTS)
    host, guest = [await browsers.chromium(one["display_name"]) for one in (DOCTOR, PATIENT)]
    await guest.tab.goto(patient.join_url)
    await guest.evaluate(f"{WITHOUT}({missing})")
    await asyncio.gather(arrive(host, await portal.vouched_url(doctor), into="admitted"), guest.click("join"))
    await admit(host, patient)
    await meets(guest, doctor)
    await meets(host, patient)
    await _is_sent(host, expected)
    await _is_sent(guest, expected)
    figure(f"without {', '.join(missing)}: {expected} both ways")


async def _is_sent(page: Page, expected: str) -> None:
    async def sent() -> bool:
        found = await page.evaluate(RECEIVED)
        assert found == [expected], f"{page.name} decodes {found}"
        return True

    await page.wait(sent, f"{expected} for {page.name}", deadline=20)
