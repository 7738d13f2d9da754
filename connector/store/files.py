"""Rules for the store's file: who may read it, on which file systems it may lie, how much room must be left."""

from __future__ import annotations

import errno
import os
import re
import stat
import threading
from contextlib import suppress
from pathlib import Path

from connector import clock
from connector.errors import StoreError

MOUNTS = Path("/proc/self/mountinfo")
FREE_CHECK_EVERY_S = 1.0

# The write-ahead log needs shared memory and byte-range locks that hold between all its users.
_NETWORK = frozenset(
    {
        *("nfs", "nfs4", "cifs", "smb", "smb2", "smb3", "smbfs", "afs", "ncp", "ncpfs", "coda", "9p", "davfs"),
        *("ceph", "glusterfs", "lustre", "gpfs", "beegfs", "sshfs"),
        *("fuse.sshfs", "fuse.ceph", "fuse.glusterfs", "fuse.davfs", "fuse.rclone", "fuse.s3fs"),
        *("fuse.gcsfuse", "fuse.goofys"),
    }
)


def file_system(path: Path, mountinfo: str) -> tuple[str, str]:
    """Return mount point and type of the file system that `path` (absolute, resolved) lies on; see proc(5)."""
    best = ("", "")
    for line in mountinfo.splitlines():
        before, separator, after = line.partition(" - ")
        columns = before.split()
        if not separator or len(columns) < 5 or not after:
            continue
        point = re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), columns[4])
        # The last of equal mount points is the one on top.
        if len(point) >= len(best[0]) and path.is_relative_to(point):
            best = (point, after.split()[0])
    return best


def refuse_network_file_system(path: Path, mountinfo: str) -> None:
    """Raise StoreError when the store would lie on a file system that is shared over a network."""
    point, kind = file_system(path, mountinfo)
    # Some sandboxes serve the root itself over 9p, to one machine only.
    if kind in _NETWORK and not (kind == "9p" and point == "/"):
        raise StoreError(
            f"the store {path} lies on a network file system ({kind} at {point}), where its locks don't hold",
            remedy="Put `store.path` on a local disk",
        )


def prepare(path: Path) -> None:
    """Create the file when it is not there, readable by its owner only, and refuse places that can't hold a store."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if MOUNTS.exists():
            refuse_network_file_system(path.resolve(), MOUNTS.read_text())
        # Only a file that did not exist is opened here: closing any descriptor of a file drops every POSIX lock that
        # this process holds on it, those of another open store included.
        with suppress(FileExistsError):
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if stat.S_IMODE(found.st_mode) != 0o600 and found.st_uid == os.geteuid():
            path.chmod(0o600)
        if not (os.access(path, os.R_OK | os.W_OK) and os.access(path.parent, os.W_OK | os.X_OK)):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as error:
        raise StoreError(
            f"the store {path} can't be opened for writing: {error.strerror}",
            remedy="Let the user that runs connector write to the file and its directory, or change `store.path`",
        ) from None


class FreeSpace:
    """Refuse to go on when the file system that holds the store runs out of room."""

    def __init__(self, path: Path, min_free_bytes: int) -> None:
        self._path = path
        self._min_free_bytes = min_free_bytes
        self._checked_at_s = -FREE_CHECK_EVERY_S
        self._free_bytes = 0
        self._lock = threading.Lock()

    def require(self) -> None:
        """Raise StoreError below `min_free_bytes`; ask the system at most once a second."""
        with self._lock:
            now_s = clock.monotonic_s()
            if now_s - self._checked_at_s >= FREE_CHECK_EVERY_S:
                found = os.statvfs(self._path.parent)
                self._free_bytes = found.f_bavail * found.f_frsize
                self._checked_at_s = now_s
            free_bytes = self._free_bytes
        if free_bytes < self._min_free_bytes:
            mib = 1024 * 1024
            raise StoreError(
                f"the file system of the store {self._path} has {free_bytes // mib} MiB left,"
                f" less than the {self._min_free_bytes // mib} MiB that `store.min_free_bytes` keeps free",
                remedy="Free some space; the pull goes on where it stopped",
            )
