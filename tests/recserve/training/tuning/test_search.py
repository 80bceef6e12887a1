"""Tuning on a real Ray: whole runs by the command line, interrupted and resumed ones included."""

from __future__ import annotations

import contextlib
import os
import pty
import shutil
import signal
import subprocess
import sys
import time
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import psutil
import pytest

from recserve.config import Config, load_config
from recserve.data.system.folder import Folder
from recserve.errors import ConfigError
from recserve.plugin.registry import Registry
from recserve.training.tuning import Needs, StudyFolder, TrialRecord, TrialState, choose_target
from recserve.training.tuning.study import Study
from tests.support.bed import ObjectStore

MARK = "RECSERVE_TEST_TUNING"


@dataclass
class Command:
    """The command line in processes of their own, which carry a mark that all their children inherit."""

    home: Path
    mark: str = field(default_factory=lambda: uuid.uuid4().hex)

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        environment = {**os.environ, MARK: self.mark, "COLUMNS": "200"}
        return subprocess.Popen(
            [sys.executable, "-m", "recserve", *arguments, "--home", str(self.home)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=environment,
        )

    def run(self, *arguments: str, status: int = 0) -> str:
        process = self.start(*arguments)
        output, _ = process.communicate(timeout=240)
        assert process.returncode == status, output
        return output

    def survivors(self, seconds: float = 30.0) -> list[str]:
        """Processes that are still there after a while."""
        end = time.monotonic() + seconds
        while True:
            found = []
            for process in psutil.process_iter():
                with contextlib.suppress(psutil.Error):
                    if process.environ().get(MARK) == self.mark and process.status() != psutil.STATUS_ZOMBIE:
                        found.append(" ".join(process.cmdline())[:80])
            if not found or time.monotonic() > end:
                return found
            time.sleep(0.2)


@pytest.fixture
def command(trained_home: Path, tmp_path: Path) -> Command:
    home = tmp_path / "home"
    shutil.copytree(trained_home, home)
    return Command(home)


def study_files(command: Command, target: str) -> Path:
    return command.home / "tuning" / target


def study_folder(command: Command, target: str) -> StudyFolder:
    return StudyFolder(study_files(command, target))


def wait_for(folder: StudyFolder, number: int, process: subprocess.Popen[str]) -> TrialRecord:
    """The record of a trial once it runs."""
    end = time.monotonic() + 120
    while time.monotonic() < end:
        assert process.poll() is None, process.communicate()[0]
        for record in folder.trials():
            if record.number == number and record.state is TrialState.RUNNING:
                return record
        time.sleep(0.02)
    raise AssertionError(f"trial {number} did not start")


@pytest.mark.slow
@pytest.mark.cluster
def test_a_study_from_the_command_line_to_a_servable_configuration(command: Command) -> None:
    output = command.run("tune", "mf", "--trials", "3", "--param", "dimension", "--param", "nu")
    folder, files = study_folder(command, "mf"), study_files(command, "mf")
    records = folder.trials()
    assert [one.number for one in records] == [0, 1, 2]
    assert all(one.state is TrialState.COMPLETE for one in records), output
    assert records[0].values == {"dimension": 8, "nu": 1.0}
    assert len({str(one.values) for one in records}) == 3
    assert all(f"trial {one.number} complete" in output for one in records)
    for name in ("best.yaml", "report.html", "result.json", "trials.json", "trials.csv"):
        assert (files / name).stat().st_size > 0, name
    assert command.survivors() == []

    best = max(records, key=lambda one: one.score or 0)
    tuned = load_config(files / "best.yaml")
    Registry.discover().resolve(tuned)
    params = tuned.scenarios["home"].retrievers[0].params
    expected = {"dimension": 8} if best.number == 0 else best.values
    assert {name: params[name] for name in expected} == expected
    assert params["iterations"] == 3

    assert "--resume" in command.run("tune", "mf", "--trials", "3", status=2)
    before = [(files / "trials" / f"000{n}.json").read_bytes() for n in range(3)]
    # What is searched need not be said again.
    more = command.run("tune", "mf", "--resume", "--trials", "5", "--no-confirm")
    assert "trial 2 complete" not in more
    assert "trial 4 complete" in more
    assert [(files / "trials" / f"000{n}.json").read_bytes() for n in range(3)] == before
    records = folder.trials()
    assert [one.number for one in records] == [0, 1, 2, 3, 4]
    assert len({str(one.values) for one in records}) == 5
    assert all(set(one.values) == {"dimension", "nu"} for one in records)
    # Nothing of any user is left behind.
    for path in files.rglob("*"):
        if path.is_file():
            assert b"user-1" not in path.read_bytes(), path


@pytest.mark.slow
@pytest.mark.cluster
@pytest.mark.long
def test_an_interrupted_and_a_killed_study_go_on_where_they_were(command: Command) -> None:
    folder = study_folder(command, "bert_lstm")
    options = ("tune", "bert_lstm", "--param", "dropout", "--max-concurrent", "1", "--no-confirm")

    process = command.start(*options, "--trials", "3")
    interrupted = wait_for(folder, 1, process)
    done = folder.trials()[0]
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 130, output
    assert f"interrupted; go on with: recserve tune bert_lstm --resume --home {command.home}" in output
    assert "Traceback" not in output
    assert command.survivors() == []

    process = command.start(*options, "--resume")
    assert wait_for(folder, 1, process) == interrupted
    process.kill()
    process.communicate(timeout=60)
    assert command.survivors() == []

    output = command.run(*options, "--resume")
    records = folder.trials()
    assert [one.number for one in records] == [0, 1, 2]
    assert records[0] == done
    assert records[1].values == interrupted.values
    assert all(one.state in (TrialState.COMPLETE, TrialState.STOPPED) for one in records)
    assert records[0].validations, "the network reports its own validations"
    assert "trial 0" not in output
    assert (study_files(command, "bert_lstm") / "report.html").exists()


@pytest.mark.slow
@pytest.mark.cluster
@pytest.mark.long
def test_a_study_in_object_storage_leaves_nothing_on_the_driver(
    command: Command, s3: ObjectStore, tmp_path: Path
) -> None:
    place = s3.uri(f"studies/{tmp_path.name}")
    options = ("tune", "mf", "--param", "nu", "--no-confirm", "--storage", place)
    process = command.start(*options, "--trials", "3", "--max-concurrent", "1")
    interrupted = wait_for(StudyFolder(place), 1, process)
    process.terminate()
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 130, output
    assert f"recserve tune mf --resume --storage '{place}'" in output
    output = command.run(*options, "--resume")
    assert "trial 0" not in output
    assert f"configuration: s3://bundles/studies/{tmp_path.name}/best.yaml" in output
    folder, files = StudyFolder(place), Folder.at(place, "--storage")
    assert [(one.number, one.state) for one in folder.trials()] == [
        (number, TrialState.COMPLETE) for number in range(3)
    ]
    assert folder.trials()[1].values == interrupted.values
    assert {"best.yaml", "report.html", "result.json", "trials.csv"} <= set(files.names())
    assert "lease.json" not in files.names()
    assert not (command.home / "tuning").exists()


@pytest.mark.slow
@pytest.mark.cluster
def test_a_polite_kill_is_an_interruption(command: Command) -> None:
    process = command.start("tune", "mf", "--trials", "50", "--no-confirm")
    wait_for(study_folder(command, "mf"), 1, process)
    process.terminate()
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 130, output
    assert "interrupted; go on with: recserve tune mf --resume" in output
    assert command.survivors() == []


@pytest.mark.slow
@pytest.mark.cluster
@pytest.mark.long
def test_time_that_is_up_leaves_a_study_to_go_on_with(command: Command) -> None:
    output = command.run("tune", "mf", "--trials", "2", "--minutes", "0.01", "--no-confirm", status=2)
    assert "time was up before the configured values were scored; go on with --resume" in output
    assert all(one.state is TrialState.RUNNING for one in study_folder(command, "mf").trials())
    assert command.survivors() == []


@pytest.mark.slow
@pytest.mark.cluster
def test_what_a_machine_does_not_have_is_said(command: Command) -> None:
    output = command.run("tune", "mf", "--cpus", "1000", status=2)
    assert "error: a trial wants 1000 CPUs, but this machine has" in output
    output = command.run("tune", "mf", "--address", "127.0.0.1:9", "--resume", status=2)
    assert "error: no Ray cluster answers at 127.0.0.1:9" in output


@pytest.mark.slow
@pytest.mark.cluster
@pytest.mark.long
def test_a_terminal_gets_a_table(command: Command) -> None:
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "recserve", "tune", "mf", "--trials", "1", "--home", str(command.home)],
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=theirs,
        env={**os.environ, MARK: command.mark, "COLUMNS": "150", "TERM": "xterm"},
    )
    os.close(theirs)
    shown = b""
    with contextlib.suppress(OSError):  # how Linux says that the other end is closed
        while part := os.read(ours, 65_536):
            shown += part
    os.close(ours)
    text = shown.decode(errors="replace")
    assert process.wait(60) == 0, text
    assert "0 of 1 trials" in text
    assert "1 of 1 trials, best 0." in text
    assert "own validation" in text
    assert command.survivors() == []


# The parts that Ray drives


def work_of(tmp_path: Path, trained_home: Path) -> Any:
    from recserve.store import open_store

    resolved = Registry.discover().resolve(load_config(trained_home / "recserve.yaml"))
    target = choose_target(Registry.discover(), resolved, "mf", only=["dimension", "nu", "regularization"])
    study = Study(StudyFolder(tmp_path / "study"), target, resolved, trained_home)
    with open_store(None, trained_home) as store:
        study.prepare(store.snapshot(), trials=3, resume=False)
    return study.work(study.windows.validation, Needs(1, 0, None))


def test_the_sampler_begins_with_the_configuration_and_knows_earlier_trials(
    tmp_path: Path, trained_home: Path
) -> None:
    from recserve.training.tuning.search import _Search

    work = work_of(tmp_path, trained_home)
    fresh = _Search(work, [])
    first = fresh.suggest("a")
    second = fresh.suggest("b")
    assert first is not None
    assert second is not None
    assert first["number"] == 0
    assert first["values"] == work.target.space.defaults
    assert second["values"] != first["values"]

    def record(suggested: dict[str, Any], state: TrialState, score: float | None) -> TrialRecord:
        return TrialRecord(**suggested, state=state, score=score, validations=[(1, 0.1)])

    stopped = fresh.suggest("c")
    assert stopped is not None
    resumed = _Search(
        work,
        [
            record(first, TrialState.COMPLETE, 0.3),
            record(second, TrialState.RUNNING, None),
            record(stopped, TrialState.STOPPED, None),
        ],
    )
    # What was cut off comes first, as it was; the next one is new.
    again, new = resumed.suggest("d"), resumed.suggest("e")
    assert again is not None
    assert new is not None
    assert (again["number"], again["values"]) == (1, second["values"])
    assert new["number"] == 3
    assert new["values"] not in (first["values"], second["values"], stopped["values"])
    known = resumed._ot_study.get_trials()
    assert [one.state.name for one in known] == ["COMPLETE", "PRUNED", "RUNNING", "RUNNING"]
    assert known[0].value == 0.3


def trial(number: int) -> Any:
    return SimpleNamespace(
        trial_id=str(number), config={"number": number, "values": {"a": number}, "point": {"a": number}}
    )


def test_what_falls_behind_is_stopped_but_never_the_configuration() -> None:
    from recserve.training.tuning.search import _Halving

    halving = _Halving(grace=2, reduction=2.0)
    trials = [trial(number) for number in range(4)]
    for one in trials:
        halving.on_trial_add(None, one)

    def validated(number: int, step: int, score: float) -> str:
        return halving.on_trial_result(None, trials[number], {"step": step, "validation": score})

    assert validated(1, 1, 0.9) == "CONTINUE"
    assert validated(1, 2, 0.9) == "CONTINUE"
    assert validated(2, 1, 0.1) == "CONTINUE"
    assert validated(2, 2, 0.1) == "STOP"
    assert validated(0, 2, 0.1) == "CONTINUE"
    assert validated(3, 2, 0.95) == "CONTINUE"
    assert halving.stopped == {"2"}
    # A final score is not a validation: it stops nobody.
    assert halving.on_trial_result(None, trials[3], {"ndcg@10": 0.0}) == "CONTINUE"


def test_a_resumed_search_compares_with_the_trials_before() -> None:
    from recserve.training.tuning.search import _Halving

    halving = _Halving(grace=1, reduction=2.0)
    values = {"values": {}, "point": {}}
    halving.remember(
        [
            TrialRecord(number=0, state=TrialState.COMPLETE, score=0.3, validations=[(1, 0.5)], **values),
            TrialRecord(number=1, state=TrialState.RUNNING, validations=[(1, 0.9)], **values),
        ]
    )
    for number, score, action in ((2, 0.4, "STOP"), (3, 0.6, "CONTINUE")):
        halving.on_trial_add(None, trial(number))
        assert halving.on_trial_result(None, trial(number), {"step": 1, "validation": score}) == action
    assert halving.stopped == {"2"}


@pytest.fixture
def begun(tmp_path: Path) -> StudyFolder:
    """The folder of a study that has begun."""
    from recserve.training.tuning.log import StudyRecord

    folder = StudyFolder(tmp_path / "study")
    folder.write_study(
        StudyRecord(
            target="mf", scenario="home", parameters=[], seed=0, trials=3, data="d", until=5, config_hash="c"
        )
    )
    return folder


def test_a_failing_configuration_ends_the_search(begun: StudyFolder) -> None:
    from recserve.training.tuning.search import _Follower, _Halving, _WhenBroken

    seen: list[TrialRecord] = []
    follower = _Follower(begun, _Halving(3, 3.0), seen.append)
    stopper = _WhenBroken(follower)
    for number in (1, 0):
        assert not stopper.stop_all()
        follower.on_trial_start(0, [], trial(number))
        follower.on_trial_result(0, [], trial(number), {"error": "too little data"})
    assert stopper.stop_all()
    assert str(follower.broken) == "the configured values themselves cannot be fitted: too little data"
    assert [(one.state, one.error) for one in begun.trials()] == [(TrialState.FAILED, "too little data")] * 2
    assert [one.state for one in seen] == [TrialState.RUNNING, TrialState.FAILED] * 2


def test_a_trial_that_was_lost_begins_anew_and_is_counted(begun: StudyFolder) -> None:
    from recserve.training.tuning.search import _Follower, _Halving

    follower = _Follower(begun, _Halving(3, 3.0), lambda record: None)
    one = trial(1)
    follower.on_trial_start(0, [], one)
    follower.on_trial_result(0, [], one, {"step": 1, "validation": 0.25, "node_ip": "10.0.0.2"})
    assert (begun.trials()[0].node, begun.trials()[0].validations) == ("10.0.0.2", [(1, 0.25)])
    follower.on_trial_recover(0, [], one)
    follower.on_trial_start(0, [], one)
    assert (begun.trials()[0].repeats, begun.trials()[0].validations) == (1, [])
    figures = {"low": 0.2, "high": 0.4, "fit_seconds": 1.0, "evaluate_seconds": 0.1}
    result = {"ndcg@10": 0.3, **figures, "per_user": np.float32([0.3]), "node_ip": "10.0.0.3"}
    follower.on_trial_result(0, [], one, result)
    assert "per_user" not in result, "Ray would keep it"
    (record,) = begun.trials()
    assert (record.state, record.repeats, record.node) == (TrialState.COMPLETE, 1, "10.0.0.3")
    assert begun.per_user(1).tolist() == [np.float32(0.3)]


def test_a_trial_that_is_lost_again_and_again_fails(begun: StudyFolder, tmp_path: Path) -> None:
    from recserve.training.tuning.search import _Follower, _Halving

    follower = _Follower(begun, _Halving(3, 3.0), lambda record: None)
    one = trial(1)
    one.error_file = str(tmp_path / "error.txt")
    (tmp_path / "error.txt").write_text("The actor died.\n\nits node was lost\n")
    for _ in range(2):
        follower.on_trial_start(0, [], one)
        follower.on_trial_recover(0, [], one)
    follower.on_trial_start(0, [], one)
    follower.on_trial_error(0, [], one)
    (record,) = begun.trials()
    assert (record.state, record.error) == (TrialState.FAILED, "lost 3 times, at last by: its node was lost")


def test_a_cluster_that_has_no_room_for_long_ends_the_search(
    begun: StudyFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    from recserve.training.tuning import search
    from recserve.training.tuning.search import IDLE_SECONDS, _Follower, _Halving, _WhenBroken

    now = [0.0]
    monkeypatch.setattr(search, "time", SimpleNamespace(monotonic=lambda: now[0]))
    follower = _Follower(begun, _Halving(3, 3.0), lambda record: None)
    waiting, running = SimpleNamespace(status="PENDING"), SimpleNamespace(status="RUNNING")
    for trials in ([waiting, running], [waiting], []):
        now[0] += IDLE_SECONDS - 1
        follower.on_step_begin(0, trials)
        assert not _WhenBroken(follower).stop_all()
    now[0] += 2
    follower.on_step_begin(0, [waiting])
    assert _WhenBroken(follower).stop_all()
    assert "had no room for a trial for 10 minutes; go on with --resume" in str(follower.broken)


def test_a_folder_that_cannot_be_written_any_more_ends_the_search(begun: StudyFolder, tmp_path: Path) -> None:
    from recserve.training.tuning.search import _Follower, _Halving, _WhenBroken

    follower = _Follower(begun, _Halving(3, 3.0), lambda record: None)
    shutil.rmtree(tmp_path / "study")
    (tmp_path / "study").write_text("")
    follower.on_trial_start(0, [], trial(1))
    assert _WhenBroken(follower).stop_all()
    assert isinstance(follower.broken, ConfigError)
    assert "cannot be written" in str(follower.broken)


def test_the_tuning_section_decides_nothing_about_a_bundle() -> None:
    changed = Config.model_validate({"tune": {"trials": 3}, "promotion": {"margin": 0.1}})
    assert changed.training_hash() == Config().training_hash()
