"""Data sources over a folder and over a made-up sample."""

from __future__ import annotations

from pathlib import Path

import pytest

from recserve import DataError, Demo, FolderSource, SampleSource, Tables, event_table, item_table


def read(folder: Path) -> Tables:
    path = folder / "names.txt"
    if not path.exists():
        raise DataError(f"{path} does not exist")
    names = path.read_text().split()
    return Tables(
        items=item_table((name, {"title": name}) for name in names),
        events=event_table(names, names, "view", [0] * len(names)),
    )


def test_a_folder_is_read_and_a_sample_is_written_first(tmp_path: Path) -> None:
    config = tmp_path / "recserve.yaml"
    config.write_text("encoder: null\n")
    folders: list[Path] = []

    def write(folder: Path) -> None:
        folders.append(folder)
        (folder / "names.txt").write_text("a b")

    sample = SampleSource(write, read, config, Demo("a", "view"))
    assert sample.read().items["item_id"].to_pylist() == ["a", "b"]
    assert not folders[0].exists(), "nothing of the sample is left"
    write(tmp_path)
    source = FolderSource(read, tmp_path, config)
    assert source.read().events["user_id"].to_pylist() == ["a", "b"]
    assert source.suggested_config() == sample.suggested_config() == {"encoder": None}
    with pytest.raises(DataError, match="does not exist"):
        FolderSource(read, tmp_path / "nowhere", config).read()
