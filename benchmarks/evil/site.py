"""Installs the evil plugin for the processes of one server, and tells it what to do."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

CULPRITS = {
    "retriever": "retriever:evil",
    "ranker": "ranking",
    "reranker": "reranker:evil",
    "filter": "filter:evil",
    "explainer": "explaining",
}
"""What an answer's ``degraded`` calls each component."""

STAGES = {"retriever": "retrieval", "ranker": "ranking"}
"""What it calls the stage whose process a component ends, until the next one knows which component it was."""

SCENARIO: Mapping[str, Any] = {
    "retrievers": [{"use": "popular"}, {"use": "evil"}],
    "ranker": {"use": "evil"},
    "rerankers": [{"use": "evil"}],
    "filters": [{"use": "evil"}],
    "explainer": {"use": "evil"},
}
"""A scenario that depends on every evil component."""


class EvilSite:
    """A folder for ``PYTHONPATH`` with the plugin as an installed distribution, and its switch.

    Args:
        folder: An empty folder.
    """

    def __init__(self, folder: Path) -> None:
        self._switch = folder / "switch.json"
        shutil.copy(Path(__file__).parent / "plugin.py", folder / "recserve_evil.py")
        information = folder / "recserve_evil-0.1.dist-info"
        information.mkdir()
        metadata = "Metadata-Version: 2.1\nName: recserve-evil\nVersion: 0.1\n"
        (information / "METADATA").write_text(metadata, encoding="utf-8")
        (information / "entry_points.txt").write_text("[recserve]\nevil = recserve_evil\n", encoding="utf-8")
        paths = filter(None, [str(folder), os.environ.get("PYTHONPATH")])
        self.environment = {"PYTHONPATH": os.pathsep.join(paths), "RECSERVE_EVIL": str(self._switch)}
        self.tell({})

    def tell(self, components: Mapping[str, str]) -> None:
        """Say what each component does wrong from now on; those that are not named do their work."""
        fresh = self._switch.with_suffix(".new")
        fresh.write_text(json.dumps(dict(components)), encoding="utf-8")
        fresh.replace(self._switch)
