"""Vardrum: self-hosted video visits for health care."""
