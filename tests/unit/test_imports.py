"""Who may import whom (DESIGN, "The house"): read from the source itself, so that no import hides in a branch."""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
OURS = ("codecs", "sfu", "control", "bench", "tests")

# What each part may import of ours; a name with a dot is one module of that part, and nothing else of it.
ALLOWED: dict[str, tuple[str, ...]] = {
    "codecs": ("codecs",),
    "sfu": ("codecs", "sfu"),
    "control": ("control", "sfu.node", "sfu.types"),
    "bench": ("codecs", "sfu", "control", "bench"),
    "tests": ("codecs", "sfu", "control", "bench", "tests"),
}

# Where an outside package may be imported; the rest of the house doesn't know that it exists.
CONFINED: dict[str, tuple[str, ...]] = {
    "aiortc": ("sfu/dtls.py", "sfu/sdp.py", "tests/", "bench/"),
    "aiohttp": ("control/", "bench/", "tests/"),
    "sqlalchemy": ("control/store/",),
    "aiosmtplib": ("control/notify/mail.py",),
    "babel": ("control/notify/compose.py",),
    # Whoever imports these has sockets, threads and processes replaced under their feet.
    "locust": ("bench/locustfile.py", "bench/clinic_day.py"),
    "gevent": ("bench/locustfile.py", "bench/clinic_day.py"),
}
# Locust loads these by their path, so that nothing is relative to them.
BY_PATH = ("bench/locustfile.py", "bench/clinic_day.py")


def sources() -> list[Path]:
    """Every Python file of ours, relative to the root."""
    found = [ROOT / "__init__.py", *(path for part in OURS for path in sorted((ROOT / part).rglob("*.py")))]
    return [path.relative_to(ROOT) for path in found if "target" not in path.parts]


def imports(path: Path, text: str) -> Iterator[tuple[int, str, int]]:
    """Each import in a source: its line, its absolute dotted name, and its level (0 where written absolutely).

    `from package import name` gives `package.name`: the name may be a module.
    """
    package = ["vardrum", *path.parts[:-1]]
    for node in ast.walk(ast.parse(text, str(path))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name, 0
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            stem = ".".join([*base, *([node.module] if node.module else [])])
            for alias in node.names:
                yield node.lineno, f"{stem}.{alias.name}", node.level


def complaints(path: Path, text: str) -> list[str]:
    """What in this source breaks the rules, one line each with where and why."""
    part = path.parts[0]
    found = []
    for line, name, level in imports(path, text):
        head, _, inner = name.partition(".")
        where = f"{path}:{line}: {name}"
        if head == "vardrum" and part in ALLOWED:
            if not any(inner == allowed or inner.startswith(f"{allowed}.") for allowed in ALLOWED[part]):
                found.append(f"{where}: {part} may import only {', '.join(ALLOWED[part])} of ours")
            if level == 0 and part != "tests" and path.as_posix() not in BY_PATH:
                found.append(f"{where}: imports inside the package are relative")
        elif head in CONFINED and not path.as_posix().startswith(CONFINED[head]):
            found.append(f"{where}: {head} belongs to {', '.join(CONFINED[head])}")
        elif head in OURS and head != "codecs":  # `import codecs` is the standard library's
            found.append(f"{where}: a top-level name that only exists when the root is on sys.path")
    return found


@pytest.mark.parametrize("path", sources(), ids=str)
def test_a_source_imports_only_what_the_design_allows(path: Path) -> None:
    assert complaints(path, (ROOT / path).read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("codecs/catalogue.py", "from ..sfu import node"),
        ("codecs/catalogue.py", "import vardrum.sfu.node"),
        ("sfu/room.py", "from ..control.visits import rules"),
        ("sfu/room.py", "def late():\n    from ..control import app"),
        ("sfu/room.py", "import aiortc"),
        ("sfu/room.py", "from aiohttp import web"),
        ("sfu/room.py", "from vardrum.codecs import catalogue"),
        ("sfu/room.py", "from sfu import node"),
        ("control/signaling.py", "from ..sfu import room"),
        ("control/signaling.py", "from ..sfu.sdp import read_offer"),
        ("control/visits/service.py", "from sqlalchemy.ext.asyncio import AsyncSession"),
        ("control/visits/service.py", "from ...sfu import engine"),
        ("control/app.py", "from ..bench import bots"),
        ("bench/bots.py", "from ..tests.support import server"),
        ("bench/load/pipe.py", "import gevent"),
    ],
)
def test_a_forbidden_import_is_seen(path: str, text: str) -> None:
    assert complaints(Path(path), text)


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("sfu/room.py", "import codecs\nfrom ..codecs import catalogue\nfrom .types import Person"),
        ("sfu/sdp.py", "from aiortc.sdp import SessionDescription"),
        ("control/signaling.py", "from ..sfu.node import Node\nfrom ..sfu import types\nfrom aiohttp import web"),
        ("control/store/models.py", "from sqlalchemy.orm import DeclarativeBase"),
        ("tests/unit/test_x.py", "from vardrum.sfu.sdp import read_offer\nimport aiortc"),
    ],
)
def test_an_allowed_import_passes(path: str, text: str) -> None:
    assert complaints(Path(path), text) == []


def test_every_package_is_in_the_wheel() -> None:
    listed = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"])
    found = {
        ".".join(["vardrum", *path.parent.parts])
        for path in sources()
        if path.name == "__init__.py" and path.parts[0] != "tests"
    }
    assert found == listed
