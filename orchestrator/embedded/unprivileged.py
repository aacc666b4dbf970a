"""PostgreSQL refuses to run as root: which user runs it instead, and whether that user can reach the files."""

import os
import pwd
import stat
from pathlib import Path

from orchestrator.embedded.errors import EmbeddedError
from orchestrator.embedded.process import RunAs


def database_user(folder: Path, program: Path) -> RunAs | None:
    """The user to run the database as, or None to run it as ourselves (whenever we aren't root).

    `folder` is the database's own folder: data that a normal user made is run as that user, so that root never
    takes it away from them; otherwise it is `nobody`, who exists everywhere and needs no change to the machine.

    Raises:
        EmbeddedError: the user is unknown to the system, or `folder` belongs to another user.
    """
    if os.geteuid() != 0:
        _refuse_foreign(folder)
        return None
    owner = folder.stat().st_uid
    try:
        entry = pwd.getpwuid(owner) if owner != 0 else pwd.getpwnam("nobody")
    except KeyError:
        raise EmbeddedError(
            f"PostgreSQL can't run as root, and the system knows neither user id {owner} (owner of {folder}) "
            "nor `nobody` to run it as instead: start as a normal user"
        ) from None
    reaches = can_reach(folder.parent, entry.pw_uid, entry.pw_gid) and can_reach(
        program, entry.pw_uid, entry.pw_gid
    )
    return RunAs(entry.pw_uid, entry.pw_gid, entry.pw_name, keep_reach=not reaches)


def can_reach(path: Path, uid: int, gid: int) -> bool:
    """Whether a user may pass every folder on the way to `path`, and `path` itself (by mode bits alone)."""
    return all(may_pass(place.stat(), uid, gid) for place in (path, *path.resolve().parents))


def may_pass(status: os.stat_result, uid: int, gid: int) -> bool:
    """Whether the mode bits of one folder or program let a user pass or run it."""
    if status.st_uid == uid:
        return bool(status.st_mode & stat.S_IXUSR)
    if status.st_gid == gid:
        return bool(status.st_mode & stat.S_IXGRP)
    return bool(status.st_mode & stat.S_IXOTH)


def _refuse_foreign(folder: Path) -> None:
    uid = os.geteuid()
    owner = folder.stat().st_uid
    if owner != uid:
        raise EmbeddedError(
            f"{folder} belongs to user id {owner}, not to you ({uid}): start as that user, or choose another data folder"
        )
    try:
        pwd.getpwuid(uid)
    except KeyError:
        raise EmbeddedError(
            f"PostgreSQL needs a named user, and the system has no name for user id {uid}: add it to /etc/passwd, or start as another user"
        ) from None
