"""What tests ask of a page in any browser; Chromium and Firefox each answer in their own way."""

from __future__ import annotations

from pathlib import Path

from ...bench.browser import Page, Tab

__all__ = ["RECORDER", "Page", "Tab"]

RECORDER = Path(__file__).with_name("recorder.js").read_text(encoding="utf-8")
