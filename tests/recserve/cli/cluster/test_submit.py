"""What `recserve submit` refuses before it asks a cluster."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from recserve.cli import app
from recserve.errors import ConfigError

URL = "http://127.0.0.1:1"
SHARED = "store: {url: postgresql://nobody@127.0.0.1/none}\nbundles: s3://bucket/recserve\n"


def refusal(home: Path, *arguments: str) -> str:
    result = CliRunner().invoke(app, ["submit", "--home", str(home), *arguments])
    assert isinstance(result.exception, ConfigError), result.output
    return result.exception.message


@pytest.mark.parametrize(
    ("config", "arguments", "reason"),
    [
        (SHARED, (URL, "serve"), "serve is nothing for a job"),
        (SHARED, ("10.0.0.1:6379", "train"), "use `recserve train --address HOST:PORT`"),
        (SHARED, (URL, "train", "--config", "other.yaml"), "--config belongs before the URL"),
        (SHARED, (URL, "train", "--address=10.0.0.1:6379"), "--address is given by the cluster itself"),
        (SHARED, (URL, "train", "--auto"), "--auto writes the configuration file"),
        ("bundles: s3://bucket/recserve\n", (URL, "train"), "store.url: SQLite is a file of this machine"),
        ("store: {url: '${DATABASE}'}\n", (URL, "train"), "bundles: a folder of this machine"),
        ("store: {url: '${DATABASE}'}\nbundles: /bundles\n", (URL, "train"), "bundles: a folder of this"),
    ],
)
def test_what_cannot_be_a_job_is_a_line(
    tmp_path: Path, config: str, arguments: tuple[str, ...], reason: str
) -> None:
    (tmp_path / "recserve.yaml").write_text(config)
    assert reason in refusal(tmp_path, *arguments)


def test_a_job_needs_a_configuration(tmp_path: Path) -> None:
    assert "there is no recserve.yaml" in refusal(tmp_path, URL, "train")


def test_the_address_of_other_commands_is_no_dashboard(tmp_path: Path) -> None:
    (tmp_path / "recserve.yaml").write_text("{}")
    result = CliRunner().invoke(
        app, ["evaluate", "--home", str(tmp_path), "--address", "http://127.0.0.1:8265"]
    )
    assert isinstance(result.exception, ConfigError)
    assert "`recserve submit http://127.0.0.1:8265 COMMAND`" in result.exception.message
