"""Files that must be durable, unaltered or private."""

from __future__ import annotations

import fcntl
import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from recserve.errors import RecserveError


def sha256_of(path: Path) -> str:
    """sha256 of a file, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def held_alone(path: Path, refusal: RecserveError) -> Iterator[None]:
    """Hold a lock file that one process of this machine holds at a time; it goes with the process.

    Args:
        path: The lock file; it is made where there is none, and stays.
        refusal: Raised where another process holds it.
    """
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise refusal from None
        yield


def make_private_folder(path: Path) -> None:
    """Create a folder that only its owner may enter, whatever the umask; one that exists stays as it is.

    Raises:
        OSError: It cannot be created.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        path.mkdir(mode=0o700)
    except FileExistsError:
        if not path.is_dir():
            raise
    else:
        path.chmod(0o700)


def make_private_file(path: Path) -> None:
    """Create an empty file that only its owner may read, or take others' access to an existing own one.

    An existing file is not opened: closing it again would drop the locks that this process holds on it.

    Raises:
        OSError: It can neither be created nor changed.
    """
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        found = path.stat()
        if stat.S_ISREG(found.st_mode) and found.st_uid == os.geteuid() and found.st_mode & 0o077:
            path.chmod(found.st_mode & 0o700)
    else:
        os.fchmod(handle, 0o600)
        os.close(handle)


def sync(path: Path) -> None:
    """Make a file, or the names in a folder, durable."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
