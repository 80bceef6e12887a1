"""Short videos as a domain plugin: watch time, likes and freshness, data sources, and wording.

This module is all that is imported until a component is used. One concern a module: ``formats`` (files),
``sample`` (made-up viewers), ``wording``; the configurations are the YAML files beside them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from recserve import Catalogue, Component, Demo, FolderParams, FolderSource, SampleSource, hookimpl

CONFIG = Path(__file__).parent / "recserve.yaml"
MICROLENS_CONFIG = CONFIG.with_name("microlens.yaml")


def _sample(params: BaseModel, catalogue: Catalogue) -> Any:
    from recserve_video.formats import read_video
    from recserve_video.sample import write_sample

    return SampleSource(write_sample, read_video, CONFIG, Demo("u001", "like", shown=("creator", "tags")))


def _video(params: FolderParams, catalogue: Catalogue) -> Any:
    from recserve_video.formats import read_video

    return FolderSource(read_video, params.path, CONFIG)


def _kuairec(params: FolderParams, catalogue: Catalogue) -> Any:
    from recserve_video.formats import read_kuairec

    return FolderSource(read_kuairec, params.path, CONFIG)


def _microlens(params: FolderParams, catalogue: Catalogue) -> Any:
    from recserve_video.formats import read_microlens

    return FolderSource(read_microlens, params.path, MICROLENS_CONFIG)


def _explainer(params: BaseModel, catalogue: Catalogue) -> Any:
    from recserve_video.wording import VideoExplainer

    return VideoExplainer()


@hookimpl
def register_datasets() -> Sequence[Component]:
    """A made-up sample, a log of watching, KuaiRec and MicroLens."""
    return [
        Component("video-sample", _sample, summary="300 made-up short videos and 150 viewers."),
        Component("video", _video, FolderParams, summary="Folder with videos.csv and watches.csv."),
        Component(
            "kuairec",
            _kuairec,
            FolderParams,
            summary="Folder with KuaiRec's big_matrix.csv, captions and daily features.",
        ),
        Component(
            "microlens",
            _microlens,
            FolderParams,
            summary="Folder with MicroLens' pairs and titles.",
        ),
    ]


@hookimpl
def register_explainers() -> Sequence[Component]:
    """Reasons in words of videos and viewers."""
    return [Component("video", _explainer, summary="'Because you watched Paper boats in the rain'")]


__all__ = ["register_datasets", "register_explainers"]
