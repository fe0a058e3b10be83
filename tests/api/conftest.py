"""The installation that the API tests ask."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from vardrum.tests.api.installation import Installation


@pytest.fixture
async def here(tmp_path: Path, database: str) -> AsyncIterator[Installation]:
    """A running server on an empty database."""
    async with Installation(tmp_path / "data", {"database_url": database}) as installation:
        yield installation
