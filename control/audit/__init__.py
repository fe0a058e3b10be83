"""The audit trail: who did what about whom, in a chain of hashes whose ends are signed and kept elsewhere too."""
