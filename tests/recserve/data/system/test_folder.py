"""A folder works alike on a disk and in object storage."""

from __future__ import annotations

from pathlib import Path

import pytest

from recserve.data.system.folder import Folder, reason_of
from recserve.errors import ConfigError
from tests.support.bed import ObjectStore


@pytest.fixture(params=["path", "file URI", "S3"])
def location(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A place that does not exist yet, on each kind of filesystem."""
    if request.param == "S3":
        s3: ObjectStore = request.getfixturevalue("s3")
        return s3.uri(f"folders/{tmp_path.name}")
    folder = tmp_path / "made" / "later"
    return str(folder) if request.param == "path" else folder.as_uri()


def test_files_are_written_read_listed_replaced_and_removed(location: str) -> None:
    folder = Folder.at(location, "--storage")
    assert folder.names() == folder.names("inner") == []
    with pytest.raises(FileNotFoundError):
        folder.read("inner/a.json")
    folder.write("inner/b.json", b"1")
    folder.write("inner/a.json", b"2")
    folder.write("inner/a.json", b"3")
    folder.write("c.json", b"")
    again = Folder.at(location, "--storage")
    assert again.read("inner/a.json") == b"3"
    assert again.names("inner") == ["a.json", "b.json"]
    assert again.names() == ["c.json"]
    again.remove("inner/a.json")
    again.remove("inner/a.json")
    assert folder.names("inner") == ["b.json"]


def test_a_folder_is_shown_without_what_signs_in(s3: ObjectStore, tmp_path: Path) -> None:
    assert Folder.at(s3.uri("folders/shown"), "--storage").shown == "s3://bundles/folders/shown"
    assert Folder.at(tmp_path.as_uri(), "--storage").shown == str(tmp_path)


@pytest.mark.parametrize("location", ["nowhere://bucket/folder", "s3://key:secret@/"])
def test_a_filesystem_that_cannot_be_opened_is_one_line(location: str) -> None:
    with pytest.raises(ConfigError, match=r"^--storage: \S+ cannot be opened: ") as raised:
        Folder.at(location, "--storage")
    assert "secret" not in str(raised.value)
    assert "\n" not in str(raised.value)


def test_what_cannot_be_written_says_why(tmp_path: Path, s3: ObjectStore) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="Not a directory"):
        Folder.at(tmp_path / "file" / "inner", "--storage").write("a", b"")
    missing = s3.uri("folder").replace("@bundles/", "@no-such-bucket/")
    with pytest.raises(OSError, match="bucket") as raised:
        Folder.at(missing, "--storage").write("a", b"")
    assert "\n" not in reason_of(raised.value)
