"""Chromium as tests use it: with the recorder in every page."""

from __future__ import annotations

from typing import Any

from ...bench import browser
from ...bench.browser import FLAGS, ChromiumTab, executable
from .page import RECORDER

__all__ = ["FLAGS", "Chromium", "ChromiumTab", "executable"]


class Chromium(browser.Chromium):
    """A Chromium process whose pages are recorded."""

    async def tab(self, **options: Any) -> ChromiumTab:
        """A page in a fresh profile, with devices allowed and the recorder in place."""
        return await super().tab(script=RECORDER, **options)
