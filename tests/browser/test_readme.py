"""What the README says of embedding is so."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from vardrum.tests.support.walk import ROOT, section, walk


@pytest.mark.timeout(300)
async def test_its_commands_lead_to_a_patient_in_the_visit(
    tmp_path: Path, made: Path, figure: Callable[[str], None]
) -> None:
    found = await walk(tmp_path, made, build=False)
    figure(f"README, without building: serving after {found.serving:.1f} s, in the visit after {found.admitted:.1f} s")


def test_its_tables_are_the_elements_own() -> None:
    text = section((ROOT / "README.md").read_text(encoding="utf-8"))
    module = (ROOT / "control" / "web" / "embed.js").read_text(encoding="utf-8")

    def exported(name: str) -> list[str]:
        return re.findall(
            r'"([\w-]+)"', re.sub(r"//.*", "", module.split(f"export const {name} = [")[1].split("];")[0])
        )

    assert sorted(re.findall(r"`vardrum:(\w+)`", text)) == sorted(exported("EVENTS"))
    [allow] = re.findall(r'`allow="(.+?)"`', text, re.S)
    assert allow.split() == "; ".join(exported("ALLOW")).split()
