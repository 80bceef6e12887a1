"""Writer of bundles."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from recserve.bundles.bundle import Bundle
from recserve.bundles.manifest import ALLOWED_SUFFIXES, ITEMS, MANIFEST, SPACE, VECTORS, FileEntry, Manifest
from recserve.data.catalogue import Catalogue
from recserve.data.system.files import sha256_of, sync
from recserve.errors import BundleError


class BundleWriter:
    """Writer of a new bundle: collects its files in a scratch folder beside the final place.

    Use as a context manager; without :meth:`finish` nothing is left behind.
    """

    def __init__(self, parent: Path) -> None:
        parent.mkdir(parents=True, exist_ok=True)
        self._parent = parent
        self.directory = Path(tempfile.mkdtemp(prefix=".writing-", dir=parent))

    def __enter__(self) -> BundleWriter:
        return self

    def __exit__(self, *details: object) -> None:
        shutil.rmtree(self.directory, ignore_errors=True)

    def write_catalogue(self, catalogue: Catalogue) -> None:
        """Write ``items.parquet``, ``item_vectors.npy`` if there are vectors, and a file a named space."""
        table = pa.table(
            {
                "item_id": pa.array(catalogue.ids.ids, pa.string()),
                "attributes": pa.array(catalogue.attributes_json, pa.string()),
            }
        )
        pq.write_table(table, self.directory / ITEMS, compression="zstd")
        files = {SPACE.format(name=name): space for name, space in catalogue.spaces.items()}
        if catalogue.vectors is not None:
            files[VECTORS] = catalogue.vectors
        for name, vectors in files.items():
            plain = np.ascontiguousarray(vectors, dtype=np.float32)
            np.save(self.directory / name, plain, allow_pickle=False)

    def component_directory(self, key: str) -> Path:
        """Make and return the empty folder of a component."""
        path = self.directory / "components" / key
        path.mkdir(parents=True)
        return path

    def finish(self, **fields: Any) -> Bundle:
        """Hash every file, write the manifest and move the bundle to its final name at once.

        Args:
            **fields: Every field of :class:`Manifest` but ``files``.

        Returns:
            The bundle; an equal one that already exists is returned as it is, unless it is damaged.

        Raises:
            BundleError: A component wrote a file of a kind that is not allowed.
        """
        files = {}
        for path in sorted(self.directory.rglob("*")):
            if path.is_dir():
                continue
            name = path.relative_to(self.directory).as_posix()
            if path.suffix not in ALLOWED_SUFFIXES:
                raise BundleError(
                    f"{name}: components may only save {', '.join(sorted(ALLOWED_SUFFIXES))} files"
                )
            files[name] = FileEntry(sha256=sha256_of(path), size=path.stat().st_size)
        # The round trip through JSON makes what is hashed now equal to what is read back later.
        plain = json.loads(Manifest(files=files, **fields).canonical())
        manifest = Manifest.model_validate(plain)
        (self.directory / MANIFEST).write_bytes(manifest.canonical())
        for path in self.directory.rglob("*"):
            if path.is_file():
                sync(path)
        final = self._parent / manifest.bundle_id()
        self.directory.chmod(0o755)
        try:
            self.directory.rename(final)
        except OSError:
            try:
                return Bundle.open(final)
            except BundleError:
                damaged = final.rename(self._parent / f".damaged-{final.name}")
                self.directory.rename(final)
                shutil.rmtree(damaged, ignore_errors=True)
        sync(self._parent)
        return Bundle(final, manifest)
