"""Fetching bundles from object storage: verified under a temporary name, then moved to their own at once."""

from __future__ import annotations

import logging
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from pyarrow import fs

from recserve.errors import BundleError

logger = logging.getLogger(__name__)

ATTEMPTS = 3
_PAUSE_SECONDS = 0.2


def fetch(remote: fs.FileSystem, bundle_id: str, folder: Path, verify: Callable[[Path], object]) -> None:
    """Copy a bundle to ``folder / bundle_id``; nothing takes that name before it was verified.

    What arrives damaged, or not at all, is fetched again a few times.

    Args:
        remote: Where the bundle is the folder ``bundle_id``.
        bundle_id: Its id.
        folder: Local folder of bundles, on the same disk as its final place.
        verify: Called with a copy whose folder is named by the id; raises BundleError for a damaged one.

    Raises:
        BundleError: Every copy was damaged or broken off; names the last problem.
    """
    for attempt in range(1, ATTEMPTS + 1):
        scratch = Path(tempfile.mkdtemp(prefix=".fetching-", dir=folder))
        copy = scratch / bundle_id
        copy.mkdir()
        try:
            local = fs.LocalFileSystem()
            fs.copy_files(bundle_id, str(copy), source_filesystem=remote, destination_filesystem=local)
            verify(copy)
            _publish(copy, folder / bundle_id, verify)
            return
        except (OSError, BundleError) as error:
            reason = " ".join(str(error).split())
            if attempt == ATTEMPTS:
                raise BundleError(
                    f"bundle {bundle_id} cannot be fetched, in {ATTEMPTS} attempts: {reason}; "
                    "check the network, and publish it again if the copy in object storage is damaged"
                ) from None
            logger.warning("bundle %s is fetched again: %s", bundle_id, reason)
            time.sleep(_PAUSE_SECONDS * attempt)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)


def _publish(copy: Path, target: Path, verify: Callable[[Path], object]) -> None:
    """Move a verified copy to its final name, in place of a damaged one."""
    if target.exists():
        try:
            verify(target)
        except BundleError:
            target.rename(copy.with_name("damaged"))
        else:
            return  # another process on this machine was faster
    try:
        copy.rename(target)
    except OSError:
        verify(target)
