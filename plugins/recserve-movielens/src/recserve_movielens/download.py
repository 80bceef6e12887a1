"""Downloading a release: used only if its checksum is right, kept for the next time."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import zipfile
from http.client import HTTPException
from pathlib import Path, PurePosixPath
from urllib.error import HTTPError
from urllib.request import urlopen

from recserve import DataError
from recserve_movielens.formats import FORMATS

_CHUNK = 1 << 20
_TIMEOUT_SECONDS = 30.0
_LARGEST_BYTES = 8 << 30  # unpacked; the largest release so far (32m) takes less than 1 GiB
_WANTED = frozenset(name for form in FORMATS for name in (form.ratings, form.films))


def fetch(url: str, sha256: str, cache: Path | None = None) -> Path:
    """A folder with the files of a release, downloaded unless it is in the cache.

    Args:
        url: Zip file of the release.
        sha256: Its checksum, hexadecimal.
        cache: Where releases are kept; default ``$XDG_CACHE_HOME/recserve/movielens``.

    Raises:
        DataError: The download fails, is not the file that was asked for, or is no release.
    """
    cache = cache or _default_cache()
    folder = cache / sha256
    if folder.is_dir():
        return folder
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache) as work:
            archive = Path(work, "release.zip")
            _download(url, sha256, archive)
            unpacked = Path(work, "files")
            unpacked.mkdir()
            unpack(archive, unpacked)
            _publish(unpacked, folder)
    except zipfile.BadZipFile:
        raise DataError(f"{url} is not a zip file") from None
    except HTTPError as error:
        raise DataError(f"cannot download {url}: HTTP {error.code} {error.reason}") from None
    except (OSError, HTTPException) as error:
        raise DataError(f"cannot download {url}: {getattr(error, 'reason', error)}") from None
    return folder


def unpack(archive: Path, target: Path) -> None:
    """Unpack the files of a release, and nothing else, into ``target``.

    Only the last part of a member's name is used, so no archive can write anywhere else.

    Raises:
        DataError: There is no release in it, one file is in it twice, or it is absurdly large.
    """
    with zipfile.ZipFile(archive) as opened:
        for member in opened.infolist():
            name = PurePosixPath(member.filename).name
            if member.is_dir() or name not in _WANTED:
                continue
            path = target / name
            if path.exists():
                raise DataError(f"the archive holds {name} twice")
            if member.file_size > _LARGEST_BYTES:
                raise DataError(f"{name} in the archive would take {member.file_size:,} bytes")
            with opened.open(member) as source, path.open("wb") as unpacked:
                shutil.copyfileobj(source, unpacked, _CHUNK)
    if not any(target.iterdir()):
        raise DataError("the archive holds no MovieLens release")


def _download(url: str, sha256: str, path: Path) -> None:
    digest = hashlib.sha256()
    with urlopen(url, timeout=_TIMEOUT_SECONDS) as response, path.open("wb") as file:
        while chunk := response.read(_CHUNK):
            digest.update(chunk)
            file.write(chunk)
    if digest.hexdigest() != sha256:
        raise DataError(f"{url} has the sha256 {digest.hexdigest()}, not {sha256}; it was not used")


def _publish(unpacked: Path, folder: Path) -> None:
    """Put the finished folder in its place; another process may have been quicker."""
    try:
        unpacked.replace(folder)
    except OSError:
        if not folder.is_dir():
            raise


def _default_cache() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base, "recserve", "movielens")
