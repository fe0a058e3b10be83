"""Waiting in tests: for a condition, with a deadline; never for a while and then hoping."""

from vardrum.bench.waiting import wait_until

__all__ = ["wait_until"]
