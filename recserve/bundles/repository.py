"""Repository of bundles: a local folder, or object storage with a local copy."""

from __future__ import annotations

import logging
import shutil
import uuid
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
from pyarrow import fs

from recserve.bundles.bundle import Bundle
from recserve.bundles.manifest import MANIFEST, Manifest
from recserve.bundles.remote import fetch
from recserve.bundles.writer import BundleWriter
from recserve.config import from_environment
from recserve.data.system.folder import reason_of, without_secrets
from recserve.errors import BundleError

logger = logging.getLogger(__name__)


class BundleRepository:
    """Repository of bundles: a local folder, or any pyarrow filesystem with a local copy.

    Args:
        home: The home folder; remote bundles are copied to ``<home>/bundles``.
        location: None for ``<home>/bundles``, a path, or a URI such as ``s3://bucket/prefix`` or
            ``file:///mnt/shared/bundles``.

    Raises:
        BundleError: The URI names a filesystem that cannot be opened.
    """

    def __init__(self, home: Path, location: str | None = None) -> None:
        self.local = home / "bundles"
        self._remote: fs.SubTreeFileSystem | None = None
        if location is None:
            return
        shown, location = without_secrets(location), from_environment(location, "bundles")
        if "://" not in location:
            self.local = Path(location)
            return
        try:
            filesystem, path = fs.FileSystem.from_uri(location)
            filesystem.create_dir(path, recursive=True)
        except (pa.ArrowInvalid, OSError) as error:
            reason = str(error).replace(location, shown)
            raise BundleError(f"bundles = {shown!r} cannot be opened: {reason}") from None
        self._remote = fs.SubTreeFileSystem(path, filesystem)

    def check(self) -> None:
        """Make sure that bundles can be written, read and removed here.

        Raises:
            OSError: They cannot.
        """
        name = f".check-{uuid.uuid4().hex}"
        filesystem = self._remote
        if filesystem is None:
            self.local.mkdir(parents=True, exist_ok=True)
            filesystem = fs.SubTreeFileSystem(str(self.local), fs.LocalFileSystem())
        with filesystem.open_output_stream(name) as out:
            out.write(b"recserve")
        with filesystem.open_input_stream(name) as file:
            if file.read() != b"recserve":
                raise OSError(f"what is written to {name} is not what is read")
        filesystem.delete_file(name)

    def ids(self) -> list[str]:
        """Ids of all complete bundles, sorted."""
        names = {path.parent.name for path in self.local.glob(f"*/{MANIFEST}")}
        return sorted(name for name in names | self._remote_ids() if not name.startswith("."))

    def writer(self) -> BundleWriter:
        """Start a new bundle."""
        return BundleWriter(self.local)

    def publish(self, bundle: Bundle) -> None:
        """Copy a local bundle to the remote location, the manifest last."""
        if self._remote is None:
            return
        for name in [*bundle.manifest.files, MANIFEST]:
            target = f"{bundle.id}/{name}"
            self._remote.create_dir(target.rpartition("/")[0], recursive=True)
            with self._remote.open_output_stream(target) as out:
                out.write((bundle.directory / name).read_bytes())

    def open(self, bundle_id: str) -> Bundle:
        """Open and verify a bundle, fetching it first if it is only remote or the local copy is damaged.

        Raises:
            BundleError: There is none, or a file of it is damaged and cannot be fetched again.
        """
        _check_id(bundle_id)
        directory = self.local / bundle_id
        if directory.exists():
            try:
                return Bundle.open(directory)
            except BundleError as error:
                if self._remote is None or bundle_id not in self._remote_ids():
                    raise
                logger.warning("%s; fetching it again", error)
        if self._remote is None or bundle_id not in self._remote_ids():
            known = ", ".join(self.ids()) or "none; run `recserve train`"
            raise BundleError(f"no bundle {bundle_id!r} (known: {known})")
        self.local.mkdir(parents=True, exist_ok=True)
        fetch(self._remote, bundle_id, self.local, Bundle.open)
        return Bundle.open(directory)

    def manifest(self, bundle_id: str) -> Manifest:
        """Manifest of a bundle, without looking at its files or fetching them.

        Raises:
            BundleError: There is none, or it is damaged.
        """
        _check_id(bundle_id)
        path = self.local / bundle_id / MANIFEST
        try:
            if path.exists() or self._remote is None:
                raw = path.read_bytes()
            else:
                with self._remote.open_input_stream(f"{bundle_id}/{MANIFEST}") as file:
                    raw = file.read()
        except FileNotFoundError:
            raise BundleError(f"bundle {bundle_id} is gone") from None
        except OSError as error:
            raise BundleError(f"bundle {bundle_id}: cannot read {MANIFEST} ({reason_of(error)})") from None
        return Manifest.read(bundle_id, raw)

    def damage(self, bundle_id: str) -> str | None:
        """Why a bundle could not be opened; None if it could. One that is only remote is not fetched for it.

        Raises:
            BundleError: Object storage cannot be listed.
        """
        return self.examined(bundle_id)[1]

    def examined(self, bundle_id: str) -> tuple[Bundle | None, str | None]:
        """A bundle that is here and intact, or why it could not be opened; neither where it would be fetched.

        Raises:
            BundleError: Object storage cannot be listed.
        """
        directory = self.local / bundle_id
        problem = f"bundle {bundle_id} is gone"
        if directory.exists():
            try:
                return Bundle.open(directory), None
            except BundleError as error:
                problem = error.message
        return None, None if self._is_remote(bundle_id) else problem

    def _is_remote(self, bundle_id: str) -> bool:
        """Whether object storage has the whole of a bundle, whose manifest was written last."""
        if self._remote is None:
            return False
        try:
            return bool(self._remote.get_file_info(f"{bundle_id}/{MANIFEST}").type == fs.FileType.File)
        except OSError as error:
            reason = " ".join(str(error).split())
            raise BundleError(f"bundles in object storage cannot be listed: {reason}") from None

    def remove(self, bundle_id: str) -> None:
        """Remove a bundle, here and remotely; whoever has its files open keeps them.

        The manifest goes first: a half-removed bundle is none.
        """
        directory = self.local / bundle_id
        if directory.exists():
            (directory / MANIFEST).unlink(missing_ok=True)
            shutil.rmtree(directory)
        if self._remote is not None and bundle_id in self._remote_ids():
            if self._remote.get_file_info(f"{bundle_id}/{MANIFEST}").type == fs.FileType.File:
                self._remote.delete_file(f"{bundle_id}/{MANIFEST}")
            self._remote.delete_dir(bundle_id)

    def _remote_ids(self) -> set[str]:
        if self._remote is None:
            return set()
        try:
            found = self._remote.get_file_info(fs.FileSelector("", recursive=False))
        except OSError as error:
            reason = " ".join(str(error).split())
            raise BundleError(f"bundles in object storage cannot be listed: {reason}") from None
        return {info.base_name for info in found if info.type == fs.FileType.Directory}


def _check_id(bundle_id: str) -> None:
    if Path(bundle_id).name != bundle_id or bundle_id.startswith("."):
        raise BundleError(f"{bundle_id!r} is not a bundle id")


def open_newest(repository: BundleRepository, candidates: Sequence[str]) -> Bundle:
    """The first intact bundle of a list; damaged ones are reported and stepped over.

    Args:
        repository: Where bundles live.
        candidates: Ids, the wanted one first, then the ones that were current before.

    Raises:
        BundleError: The list is empty, or no bundle in it is intact (the first problem is named).
    """
    if not candidates:
        raise BundleError("nothing has been trained yet; run `recserve train`")
    problems: list[BundleError] = []
    for bundle_id in candidates:
        try:
            bundle = repository.open(bundle_id)
        except BundleError as error:
            problems.append(error)
            continue
        for problem in problems:
            logger.error("%s; going on with the earlier bundle %s", problem, bundle_id)
        return bundle
    raise problems[0]
