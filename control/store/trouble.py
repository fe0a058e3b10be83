"""What may be wrong with a database, for those who only want to know whether to try again."""

# What Busy says.
AWAY = "the database can't be reached"
SLOW = "the database can't keep up"
UNWRITABLE = "the database can't be written"


class Busy(Exception):
    """The database can't do it now: it is `AWAY`, `SLOW` (too many wait), or `UNWRITABLE`. Try again in a second."""


class Undone(Exception):
    """The database has undone a whole transaction by itself, whoever had part in it."""


class Unusable(Exception):
    """This can't be used as our database; the message says why."""
