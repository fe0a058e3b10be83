"""What may be wrong with a database, for those who only want to know whether to try again."""

# What Busy says.
AWAY = "the database can't be reached"
SLOW = "the database can't keep up"


class Busy(Exception):
    """The database can't do it now: it is `AWAY`, or `SLOW` since too many wait. Try again in a second."""


class Unusable(Exception):
    """This can't be used as our database; the message says why."""
