"""Backup of an installation while it runs, and bringing one up again elsewhere."""
