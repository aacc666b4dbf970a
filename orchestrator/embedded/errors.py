"""What can go wrong with the local servers, each with its place and its cure."""

import errno
import re
import shutil
from pathlib import Path

from orchestrator.core.errors import OrchestratorError

ALMOST_NONE_MB = 2
DISK_FULL = re.compile(r"No space left on device|Disk quota exceeded", re.IGNORECASE)


class EmbeddedError(OrchestratorError):
    """A local server can't be fetched, started, reached or stopped; the message names the place and the cure."""


class InUseError(EmbeddedError):
    """Another process has the data folder, and it stays as it is."""


def from_os_error(error: OSError, doing: str, place: Path) -> EmbeddedError:
    """An `EmbeddedError` for a failed file operation: full disk, missing rights, read-only folder, or the rest."""
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return EmbeddedError(
            f"the disk is full while {doing} in {place} ({free_mb(place)} MB free): make room there, or choose another folder"
        )
    if error.errno in {errno.EACCES, errno.EPERM, errno.EROFS}:
        return EmbeddedError(
            f"no right to write while {doing} in {place}: give this user the folder, or choose another one"
        )
    return EmbeddedError(f"failed while {doing} in {place}: {error.strerror or error}")


def full_disk_note(said: str, place: Path) -> str:
    """What to add to the words of a failed server or tool if the disk under `place` is full, else nothing."""
    free = free_mb(place)  # asked too, since a full disk takes no log lines either
    if free >= ALMOST_NONE_MB and not DISK_FULL.search(said):
        return ""
    return f"; the disk is full at {place} ({free} MB free): make room"


def free_mb(place: Path) -> int:
    """Free megabytes on the filesystem of `place` or of its nearest existing parent."""
    existing = next(folder for folder in (place, *place.parents) if folder.exists())
    return shutil.disk_usage(existing).free // 1_000_000
