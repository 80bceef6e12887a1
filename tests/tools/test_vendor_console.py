"""Vendored files are what their tables say, and are compared with what the registry has."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from tools import vendor_console
from tools.vendor_console import FOLDERS, Vendored, content, digest, problems, unlisted, vendored


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_committed_files_are_those_of_the_table_with_their_licence(folder: Path) -> None:
    files = vendored(folder)
    assert files
    assert [one.path.name for one in files if not one.intact] == []
    assert unlisted(folder, files) == []
    licences = {one.package for one in files if "LICENSE" in one.path.name}
    assert licences == {one.package for one in files}


def archive(folder: Path, files: dict[str, bytes]) -> Path:
    path = folder / "thing-1.0.0.tgz"
    with tarfile.open(path, "w:gz") as made:
        for name, text in files.items():
            entry = tarfile.TarInfo(f"package/{name}")
            entry.size = len(text)
            made.addfile(entry, io.BytesIO(text))
    return path


def test_a_changed_file_is_told_and_mended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    packed = archive(tmp_path, {"dist/thing.js": b"original"})
    monkeypatch.setattr(vendor_console, "fetch", lambda *_: packed)
    mine = tmp_path / "thing.js"
    mine.write_bytes(b"changed")
    one = Vendored(mine, "thing", "1.0.0", "dist/thing.js", digest(b"original"))
    assert not one.intact
    assert list(problems([one], write=False)) == ["thing.js: is not what thing@1.0.0 has"]
    assert list(problems([one], write=True)) == ["thing.js: written anew"]
    assert one.intact
    assert list(problems([one], write=False)) == []
    moved = Vendored(mine, "thing", "1.0.0", "dist/thing.js", digest(b"other"))
    assert "has sha256" in next(iter(problems([moved], write=False)))


def test_what_a_package_lacks_is_said(tmp_path: Path) -> None:
    packed = archive(tmp_path, {"a.js": b"a"})
    with pytest.raises(RuntimeError, match=r"has no file b\.js"):
        content(packed, "b.js")


def test_npm_that_is_missing_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", "")
    assert vendor_console.main([]) == 1
    assert "npm is missing" in capsys.readouterr().err
