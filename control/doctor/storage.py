"""Where things are kept: the data folder, the keyring and the database."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pwd
import shutil
import tempfile
from pathlib import Path

from ..keyring import BadKeyring
from ..keyring import load as load_keyring
from ..secret import Clock
from ..settings import Settings
from ..store.examination import Examination, examine
from ..store.store import Unusable
from .finding import Finding, ok, warning, wrong

LITTLE, TOO_LITTLE = 1 << 30, 100 << 20
# Inodes: a database is three files, an audit trail one for each tenant.
FEW_FILES = 100
# Where the folder is a disk of its own (ext4), this is root's, and nobody's business.
DISKS_OWN = "lost+found"
# Seconds between our clock and the database's: the lesser shows in what is written down, the larger ends tokens.
APART, FAR_APART = 1.0, 60.0


def runs(data: Path) -> bool:
    """Whether a server serves this folder now: it holds a lock in it."""
    with contextlib.suppress(OSError), (data / "lock").open("rb") as lock:
        try:
            # Shared, for a microsecond, and without waiting.
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def user_of(data: Path) -> int | None:
    """Whose the folder is, and so who runs the server; None where it isn't there yet."""
    try:
        return data.stat().st_uid
    except OSError:
        return None


def name_of(user: int) -> str:
    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:
        return str(user)


def folder(data: Path) -> Finding:
    """Whether the data folder can be used as the server will, by whose it is."""
    name = "data"
    if not data.exists():
        above = next(one for one in data.absolute().parents if one.exists())
        if not writable(above):
            make = f"install -d -m 0700 -o USER {data} (USER is who runs the server)"
            return wrong(name, f"{data} doesn't exist, and {above} can't be written to", make)
        return ok(name, f"{data} doesn't exist yet; the first start makes it")
    if not data.is_dir():
        return wrong(name, f"{data} is not a folder", "data = a folder, in the settings")
    if not writable(data):
        remedy = f"ls -ld {data} says whose it is, findmnt -T {data} whether its disk is read-only"
        return wrong(name, f"{data} can't be written to", remedy)
    about = data.stat()
    owner = name_of(about.st_uid)
    # What root once made in it, such as by `vardrum keys create`, the server can't write to.
    inside = [one for one in (*data.iterdir(), *data.glob("audit/*")) if one.name != DISKS_OWN]
    strange = [one for one in inside if one.lstat().st_uid != about.st_uid]
    if strange:
        return wrong(name, f"{strange[0]} isn't {owner}'s, whose the folder is", f"chown -R {owner} {data}")
    if os.geteuid() not in (0, about.st_uid):
        what = f"{data} is {owner}'s, and not of who asks here: if the server runs so too, it can't use what is in it"
        return warning(name, what, f"sudo -u {owner} vardrum doctor, with the same arguments")
    if about.st_mode & 0o777 != 0o700:
        return warning(name, f"{data} is open to others on this machine, or not to {owner}", f"chmod 700 {data}")
    return ok(name, f"{data} can be written to, by {owner} alone")


def may_read(user: int, file: Path) -> bool:
    """Whether somebody may read a file, by the permissions of it and of all folders above (no access lists)."""
    try:
        known = pwd.getpwuid(user)
        groups = os.getgrouplist(known.pw_name, known.pw_gid)
    except KeyError:
        groups = []

    def allowed(there: Path, right: int) -> bool:
        about = there.stat()
        shift = 6 if about.st_uid == user else 3 if about.st_gid in groups else 0
        return bool(about.st_mode >> shift & right)

    # A link's own folders count as well as those of where it leads.
    above = {*file.absolute().parents, *file.resolve().parents}
    return user == 0 or (allowed(file, 4) and all(allowed(one, 1) for one in above))


def space(data: Path) -> Finding:
    """How much the disk has left."""
    there = next(one for one in (data.absolute(), *data.absolute().parents) if one.exists())
    free, files = shutil.disk_usage(there).free, os.statvfs(there)
    said = f"{free / (1 << 30):.1f} GB are free for {data}"
    remedy = f"df -h {there}; du -xh -d1 {there} says what is large"
    # Some filesystems have no inodes to count.
    if free < TOO_LITTLE or (files.f_files and files.f_favail < FEW_FILES):
        return wrong("space", f"{said}: soon nothing can be written down, and nobody let in", remedy)
    if free < LITTLE:
        return warning("space", said, remedy)
    return ok("space", said)


def keyring(settings: Settings) -> Finding:
    """Whether what is sealed can be opened."""
    name, file = "keyring", settings.keyring_file()
    if not file.exists() and not settings.keyring and not _has_database(settings):
        return ok(name, f"{file} doesn't exist yet; the first start makes it")
    try:
        keys = load_keyring(file, create=False)
    except BadKeyring as error:
        return wrong(name, str(error), f"put {file} back from the backup: without it phone numbers can't be read")
    return ok(name, f"{file} has {len(keys.names)} keys; back it up apart from the data")


def audit(settings: Settings) -> Finding:
    """Whether signed heads of the audit trail can be written."""
    there = settings.audit_folder()
    if settings.audit.export and not (there.is_dir() and writable(there)):
        what = f"{there} (audit.export) is no folder that can be written to: the server won't start"
        return wrong("audit", what, f"install -d -m 0700 -o USER {there}, or mount its disk")
    if not settings.audit.export:
        return ok("audit", "heads are kept in the data folder; a disk that others keep is safer (audit.export)")
    return ok("audit", f"heads go to {there}")


async def database(settings: Settings, clock: Clock) -> list[Finding]:
    """Whether it answers, takes writes and is of this version; PostgreSQL's clock too."""
    name, where = "database", settings.database
    if isinstance(where, Path) and not where.exists():
        return [ok(name, f"{where} doesn't exist yet; the first start makes it")]
    try:
        found = await examine(where, clock)
    except Unusable as error:
        remedy = (
            f"put {where} back from the backup, or see its disk and permissions"
            if isinstance(where, Path)
            else "psql with the same database_url says more; see that PostgreSQL runs and lets this machine in"
        )
        return [wrong(name, f"{settings.database_setting}: {error}", remedy)]
    said = [_version(found)]
    if found.ahead is not None:
        said.append(_apart(found.ahead))
    return said


def _version(found: Examination) -> Finding:
    name = "database"
    if found.readonly is not None:
        remedy = "see that its disk isn't full or read-only, and that this server's user may write to it"
        return wrong(name, f"{found.name} takes no writes: {found.readonly}", remedy)
    if found.version is None:
        return ok(name, f"{found.name} answers, and is empty; the first start makes its tables")
    if found.newer:
        remedy = "install the version of Vardrum that it was used with last, or restore the backup made before"
        return wrong(name, f"{found.name} was made by a newer version of Vardrum", remedy)
    if found.version != found.newest:
        what = f"{found.name} has the schema {found.version}; the next start brings it to {found.newest}"
        return warning(name, what, "back it up before that: an older version of Vardrum can't use it any more then")
    return ok(name, f"{found.name} answers, takes writes, and has the newest schema ({found.version})")


def _apart(seconds: float) -> Finding:
    name, said = "database clock", f"PostgreSQL's clock is {abs(seconds):.1f} s {'ahead' if seconds > 0 else 'behind'}"
    remedy = "timedatectl on both machines says whose is wrong"
    if abs(seconds) >= FAR_APART:
        return wrong(name, said, remedy)
    if abs(seconds) >= APART:
        return warning(name, said, remedy)
    return ok(name, "PostgreSQL's clock and this one agree")


def _has_database(settings: Settings) -> bool:
    where = settings.database
    return not isinstance(where, Path) or where.exists()


def writable(there: Path) -> bool:
    """Tried, since permissions aren't all: a disk may be read-only. Nothing is left behind."""
    try:
        with tempfile.TemporaryFile(dir=there):
            return True
    except OSError:
        return False
