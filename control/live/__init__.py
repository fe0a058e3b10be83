"""The in-memory side of rooms: who is connected, what was just said, and what each client has to be told."""
