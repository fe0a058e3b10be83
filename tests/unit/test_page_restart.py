"""What a page takes a lost connection for: the network, or a server that is back in a moment."""

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path

from vardrum.tests.support.identity_provider import NODE

MODULES = Path(__file__).parents[2] / "control" / "web" / "static" / "js"
SCRIPT = Path(__file__).with_name("visit_of_a_page.mjs")


async def test_a_page_says_that_the_server_restarts_when_it_does_and_for_no_longer_than_a_moment(
    tmp_path: Path,
) -> None:
    # For node, what a module is stands in a file above it.
    shutil.copytree(MODULES, tmp_path / "js")
    (tmp_path / "package.json").write_text('{"type": "module"}')
    child = await asyncio.create_subprocess_exec(
        NODE, SCRIPT, tmp_path / "js", stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    output, errors = await asyncio.wait_for(child.communicate(), 60)
    assert child.returncode == 0, errors.decode()
    # When: whether it is online, whether it says that the server restarts, whether its screens have heard of a change.
    assert json.loads(output) == [
        ["there", True, False, True],
        ["ends within an hour", True, False, False],
        # In the meantime a network is lost as ever.
        ["closed by 1006", False, False, True],
        ["there", True, False, True],
        ["closed by 1001", False, True, True],
        ["20 s later", False, True, False],
        ["35 s later", False, False, True],
        ["there", True, False, True],
        ["closed by 1001", False, True, True],
        ["left", False, False, True],
    ]
