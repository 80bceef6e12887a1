"""The command line as a user meets it: one line an error, exit status 2, no traceback."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from recserve import __version__
from recserve.cli import app
from recserve.errors import ConfigError

EVENTS = (
    "user_id,item_id,event,value,timestamp\n"
    "u1,a,view,,1600000000\n"
    "u2,a,view,,notatime\n"
    "u3,,view,,1600000000\n"
)
ITEMS = '{"item_id": "a", "title": "A"}\n{"item_id": "a", "title": "A2"}\n'


def recserve(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "recserve", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    events, items = tmp_path / "events.csv", tmp_path / "items.jsonl"
    events.write_text(EVENTS)
    items.write_text(ITEMS)
    return events, items


def test_bad_rows_are_named_counted_and_the_good_ones_load(files: tuple[Path, Path], tmp_path: Path) -> None:
    events, items = files
    home = tmp_path / "home"
    refused = recserve("import", "--events", events, "--items", items, "--home", home)
    assert refused.returncode == 1
    assert "nothing was stored: 2 of 3 rows" in refused.stderr
    assert "take the good rows with --allow-bad 0.67" in refused.stderr
    assert not home.exists()
    done = recserve("import", "--events", events, "--items", items, "--home", home, "--allow-bad", "0.67")
    assert done.returncode == 0
    assert f"{events}:3: timestamp 'notatime'" in done.stderr
    assert f"{events}:4: item_id is empty" in done.stderr
    assert f"{items}:1: item_id 'a' occurs again in line 2" in done.stderr
    # A repeated item is worth knowing but loses nothing, so it does not count as left out.
    assert "1 items and 1 events imported, 2 bad rows left out" in done.stdout


def test_strict_loads_nothing(files: tuple[Path, Path], tmp_path: Path) -> None:
    home = tmp_path / "home"
    done = recserve("import", "--strict", "--events", files[0], "--home", home)
    assert done.returncode == 2
    assert "nothing was loaded" in done.stderr
    assert not home.exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("import", "--dataset", "movilens"), "unknown dataset 'movilens'; did you mean 'movielens'?"),
        (("import",), "give either --dataset NAME, or --events FILE, --items FILE"),
        (("import", "--events", "nowhere.csv"), "no file nowhere.csv"),
        (("import", "--dataset", "movielens", "--param", "path"), "must look like KEY=VALUE"),
        (("train", "--config", "nowhere.yaml"), "no configuration file nowhere.yaml"),
        (("recommend", "1"), "nothing has been trained yet; run `recserve train`"),
        (("recommend", "1", "--filter", "genre"), "must look like NAME=VALUE"),
        (("evaluate", "--model", "mff"), "unknown model 'mff'; did you mean 'mf'?"),
    ],
)
def test_mistakes_are_one_line_and_status_2(arguments: tuple[str, ...], message: str, tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    done = recserve(*arguments, "--home", tmp_path / "home")
    assert done.returncode == 2
    (line,) = done.stderr.strip().splitlines()
    assert line.startswith("error: ")
    assert message in line
    assert done.stdout == ""


def test_where_the_shell_does_not_find_recserve_messages_say_what_to_type(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "home").mkdir()
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    said = recserve("recommend", "1", "--home", tmp_path / "home").stderr
    ours = Path(sys.executable).parent / "recserve"
    here = Path.cwd()
    typed = str(ours.relative_to(here) if ours.is_relative_to(here) else ours)
    assert f"run `recserve train` (type {typed} for recserve)" in " ".join(said.split())


@pytest.mark.parametrize(
    "arguments",
    [
        ("train",),
        ("recommend", "u"),
        ("similar", "i"),
        ("evaluate",),
        ("tune", "mf"),
        ("promote", "b"),
        ("rollback",),
        ("promotions",),
        ("bundles",),
        ("serve",),
        ("stop",),
        ("status",),
        ("export", "backup"),
        ("users", "delete", "u"),
        ("deletions", "list"),
        ("deletions", "verify", "r"),
        ("keys", "create", "shop", "--scope", "read"),
        ("keys", "list"),
        ("keys", "revoke", "k"),
        ("audit",),
        ("store", "status"),
    ],
)
def test_a_home_that_does_not_exist_is_a_mistake(arguments: tuple[str, ...], tmp_path: Path) -> None:
    home = tmp_path / "typo"
    with pytest.raises(ConfigError, match=r"there is no home folder .*typo; check --home"):
        CliRunner().invoke(app, [*arguments, "--home", str(home)], catch_exceptions=False)
    assert not home.exists()


def test_a_home_that_is_a_file_is_a_mistake(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = recserve("keys", "list", "--home", tmp_path / "file")
    assert done.returncode == 2
    assert "file is a file; check --home" in done.stderr


def test_a_secret_of_a_hook_that_is_missing_is_found_before_anything_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SHOP_SECRET", raising=False)
    fields = "{user_id: who, item_id: what, event: {constant: view}}"
    hook = f'{{secret: "${{SHOP_SECRET}}", fields: {fields}}}'
    (tmp_path / "recserve.yaml").write_text(f"streams: {{hooks: {{shop: {hook}}}}}\n")
    with pytest.raises(ConfigError, match=r"streams\.hooks\.shop\.secret: .* SHOP_SECRET is not set"):
        CliRunner().invoke(app, ["serve", "--home", str(tmp_path)], catch_exceptions=False)


def test_plugins_lists_components_with_their_distribution() -> None:
    done = recserve("plugins", "--schemas")
    assert done.returncode == 0
    assert '"retriever.mf"' in done.stdout
    assert '"search"' in done.stdout


def test_version_is_one_line() -> None:
    result = CliRunner().invoke(app, ["--version"])
    assert (result.exit_code, result.output) == (0, f"recserve {__version__}\n")
