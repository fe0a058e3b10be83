"""Messages to people: what they say, and the ways they go."""
