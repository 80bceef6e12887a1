"""Tuning without Ray: targets, windows, the study's folder, one trial, importance and plots."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import yaml
from pydantic import Field

from recserve import Catalogue, Component, NoParams, search
from recserve.config import Config, load_config, parse_config
from recserve.data.dataset import Tables
from recserve.data.system.folder import Folder
from recserve.errors import ConfigError, ConflictError, DataError
from recserve.evaluation import Interval
from recserve.plugin.protocols import Stage
from recserve.plugin.registry import PluginInfo, Registry
from recserve.store import open_store
from recserve.training.tuning import Needs, StudyFolder, TrialRecord, TrialState, choose_target, report
from recserve.training.tuning.log import StudyRecord
from recserve.training.tuning.results import Comparison, Result, importances, verdict
from recserve.training.tuning.space import Dimension, Space
from recserve.training.tuning.study import Study
from recserve.training.tuning.targets import Target
from recserve.training.tuning.trial import run_trial

if TYPE_CHECKING:
    from tests.conftest import Domain
    from tests.support.bed import ObjectStore

REGISTRY = Registry.discover()


def configured(domain: Domain, **changes: Any) -> Config:
    raw = yaml.safe_load(domain.config.read_text())
    return parse_config({**raw, **changes})


def target_of(config: Config, name: str, **options: Any) -> Target:
    return choose_target(REGISTRY, REGISTRY.resolve(config), name, **options)


def snapshot(home: Path) -> Tables:
    with open_store(None, home) as store:
        return store.snapshot()


def record(number: int, score: float | None, **values: Any) -> TrialRecord:
    state = TrialState.COMPLETE if score is not None else TrialState.STOPPED
    return TrialRecord(number=number, state=state, values=values, point=values, score=score, fit_seconds=1.0)


# Targets


def test_a_target_begins_at_the_configured_values(domain: Domain) -> None:
    target = target_of(configured(domain), "mf")
    assert target.space.defaults["dimension"] == 8
    assert target.space.defaults["iterations"] == 3
    assert not target.needs_vectors
    assert target_of(configured(domain), "bert_lstm").space.defaults["width"] == 16


def test_found_values_go_wherever_the_component_is_used(domain: Domain) -> None:
    raw = yaml.safe_load(domain.config.read_text())
    raw["scenarios"]["similar"] = {"retrievers": [{"use": "mf", "params": {"dimension": 8, "iterations": 3}}]}
    config = parse_config(raw)
    target = target_of(config, "mf", only=["dimension"])
    tuned = target.configure(config, {"dimension": 64})
    REGISTRY.resolve(tuned)
    for name in ("home", "similar"):
        mf = tuned.scenarios[name].retrievers[0]
        assert mf.params == {"dimension": 64, "iterations": 3}, name
    assert tuned.scenarios["plain"] == config.scenarios["plain"]
    assert tuned.train == config.train
    # The configured values change nothing that decides a bundle.
    same = REGISTRY.resolve(target.configure(config, target.space.defaults))
    assert same.scenarios["home"].retrievers == REGISTRY.resolve(config).scenarios["home"].retrievers


@pytest.mark.parametrize("name", ["popular", "pipeline"])
def test_what_is_also_a_silent_fallback_is_tuned_there_too(name: str) -> None:
    raw = {
        "scenarios": {
            "home": {"retrievers": [{"use": "mf"}, {"use": "popular"}]},
            "similar": {"retrievers": [{"use": "mf"}]},
        }
    }
    config = parse_config(raw)
    target = target_of(config, name)
    key = "distinct_users" if name == "popular" else "popular.distinct_users"
    tuned = target.configure(config, {**target.space.defaults, key: False})
    REGISTRY.resolve(tuned)
    assert tuned.scenarios["similar"].fallback.params["distinct_users"] is False
    assert "fallback" not in tuned.scenarios["home"].model_fields_set


def test_a_configuration_that_says_nothing_is_tuned_as_well() -> None:
    target = target_of(Config(), "mf", only=["iterations"])
    tuned = target.configure(Config(), {"iterations": 20})
    assert tuned.scenarios["home"].retrievers[0].params == {"iterations": 20}
    assert tuned.scenarios["home"].retrievers[1].params == {}


def test_a_pipeline_has_its_components_parameters_and_its_own(domain: Domain) -> None:
    config = configured(domain)
    target = target_of(config, "pipeline")
    assert target.whole
    assert target.needs_vectors
    names = {one.name for one in target.space.dimensions}
    assert {"mf.dimension", "bert_lstm.width", "budget", "weight mf", "weight content"} <= names
    values = {
        **target.space.defaults,
        "mf.dimension": 32,
        "budget": 100,
        "weight mf": 2.0,
        "bert_lstm.width": 64,
    }
    home = target.configure(config, values).scenarios["home"]
    assert home.budget == 100
    assert home.retrievers[0].weight == 2.0
    assert home.retrievers[0].params["dimension"] == 32
    assert home.ranker is not None
    assert home.ranker.params["width"] == 64
    assert home.ranker.params["epochs"] == 3
    assert "mf.dimension" not in home.ranker.params


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("mff", {}, r"no scenario of the configuration uses a retriever or ranker 'mff'; did you mean 'mf'"),
        ("mf", {"only": ["width"]}, r"--param: 'mf' has no searched parameter 'width'"),
        ("pipeline", {"scenario": "hme"}, r"--scenario: unknown scenario 'hme'; did you mean 'home'"),
    ],
)
def test_what_cannot_be_tuned_is_refused(
    domain: Domain, name: str, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        target_of(configured(domain), name, **options)


def registry_with_halves(low: int, longest: int) -> Registry:
    """The installed components and one that takes even widths only, which it tells when it is built."""

    class Params(NoParams):
        width: int = Field(4, le=longest, json_schema_extra=search(low=low, high=8))

    def halves(params: Params, catalogue: Catalogue) -> object:
        if params.width % 2:
            raise ConfigError(f"width {params.width} is not even")
        return object()

    components = {Stage.RETRIEVER: (Component("halves", halves, Params),)}
    return Registry([*REGISTRY.plugins, PluginInfo("halves", "halves", "1.0", components)], REGISTRY.manager)


@pytest.mark.parametrize(
    ("low", "longest", "message"),
    [
        (3, 8, r"^width = 3, which the search may choose: .*width 3 is not even"),
        (2, 6, r"^width = 8, which the search may choose: .*less than or equal to 6"),
    ],
)
def test_a_value_that_a_component_refuses_is_refused_before_any_trial(
    low: int, longest: int, message: str
) -> None:
    registry = registry_with_halves(low, longest)
    config = parse_config({"scenarios": {"home": {"retrievers": [{"use": "halves"}]}}})
    target = choose_target(registry, registry.resolve(config), "halves")
    with pytest.raises(ConfigError, match=message):
        target.check(registry, config, Catalogue())


# Windows and the study


def study_of(home: Path, folder: str | Path, name: str = "mf", **changes: Any) -> Study:
    config = load_config(home / "recserve.yaml").model_copy(update=changes)
    resolved = REGISTRY.resolve(config)
    return Study(StudyFolder(folder), choose_target(REGISTRY, resolved, name), resolved, home)


def test_trials_never_see_the_test_window(trained_home: Path, tmp_path: Path) -> None:
    study = study_of(trained_home, tmp_path / "study")
    study.prepare(snapshot(trained_home), trials=3, resume=False)
    validation, test = study.windows.validation, study.windows.test
    cut = int(test.times.min())
    assert int(validation.times.max()) < cut
    assert int(validation.training.timestamps.max()) < int(validation.times.min())
    # Not even as input: every event that a validation query may read is older than the test window.
    assert int(validation.timeline.timestamps.max()) < cut
    assert len(validation) > 20
    assert len(test) > 20


def test_a_folder_with_a_study_is_not_written_over(trained_home: Path, tmp_path: Path) -> None:
    tables = snapshot(trained_home)
    study_of(trained_home, tmp_path / "study").prepare(tables, trials=3, resume=False)
    with pytest.raises(ConfigError, match=r"holds a study of 'mf' with 0 trials: go on with it by --resume"):
        study_of(trained_home, tmp_path / "study").prepare(tables, trials=3, resume=False)
    again = study_of(trained_home, tmp_path / "study")
    again.prepare(tables, trials=None, resume=True)
    assert again.trials == 3
    again.prepare(tables, trials=7, resume=True)
    assert again.trials == 7


def test_a_resumed_study_must_ask_the_same(trained_home: Path, tmp_path: Path) -> None:
    tables = snapshot(trained_home)
    folder = tmp_path / "study"
    study_of(trained_home, folder).prepare(tables, trials=3, resume=False)

    def resume(study: Study, tables: Tables = tables) -> None:
        study.prepare(tables, trials=None, resume=True)

    with pytest.raises(ConfigError, match="it tunes another target"):
        resume(study_of(trained_home, folder, "content"))
    train = load_config(trained_home / "recserve.yaml").train
    with pytest.raises(ConfigError, match="it has another seed"):
        resume(study_of(trained_home, folder, train=train.model_copy(update={"seed": 5})))
    with pytest.raises(ConfigError, match="the configuration changed since"):
        resume(study_of(trained_home, folder, train=train.model_copy(update={"next_window": 0.2})))
    with pytest.raises(ConfigError, match="the events or items of its time changed"):
        resume(study_of(trained_home, folder), replace(tables, events=tables.events.slice(5)))


def test_events_that_came_since_do_not_disturb_a_resumed_study(trained_home: Path, tmp_path: Path) -> None:
    tables = snapshot(trained_home)
    order = np.argsort(tables.events["timestamp"].to_numpy())
    older = tables.events.take(np.sort(order[:1000]))
    study_of(trained_home, tmp_path / "study").prepare(replace(tables, events=older), trials=3, resume=False)
    begun = (tmp_path / "study" / "study.json").read_bytes()
    study_of(trained_home, tmp_path / "study").prepare(tables, trials=None, resume=True)
    assert (tmp_path / "study" / "study.json").read_bytes() == begun


def test_an_empty_store_is_refused(trained_home: Path, tmp_path: Path) -> None:
    tables = snapshot(trained_home)
    study = study_of(trained_home, tmp_path / "study")
    with pytest.raises(DataError, match="run `recserve import` first"):
        study.prepare(replace(tables, events=tables.events.slice(0, 0)), trials=3, resume=False)
    assert not (tmp_path / "study").exists()


# One trial


def test_a_trial_scores_what_evaluation_would(trained_home: Path, tmp_path: Path) -> None:
    study = study_of(trained_home, tmp_path / "study")
    study.prepare(snapshot(trained_home), trials=3, resume=False)
    work = study.work(study.windows.validation, Needs(1, 0, None))
    defaults = work.target.space.defaults
    first = run_trial(work, defaults)
    assert run_trial(work, defaults).per_user.tolist() == first.per_user.tolist()
    assert first.low <= first.score <= first.high
    assert first.score == pytest.approx(float(first.per_user.mean()), abs=1e-6)
    assert len(first.per_user) == study.windows.validation.n_users
    other = run_trial(work, {**defaults, "dimension": 32, "regularization": 0.05, "iterations": 4})
    assert other.per_user.tolist() != first.per_user.tolist()


def test_a_trial_reports_each_validation_of_its_fit(trained_home: Path, tmp_path: Path) -> None:
    study = study_of(trained_home, tmp_path / "study", "bert_lstm")
    study.prepare(snapshot(trained_home), trials=3, resume=False)
    work = study.work(study.windows.validation, Needs(1, 0, None))
    seen: list[tuple[int, float]] = []
    run_trial(work, work.target.space.defaults, lambda step, score: seen.append((step, score)))
    assert [step for step, _ in seen] == [1, 2, 3]
    assert all(0 <= score <= 1 for _, score in seen)


# The folder


@pytest.mark.parametrize("kind", ["path", "S3"])
def test_the_folder_gives_back_what_was_written(kind: str, tmp_path: Path, s3: ObjectStore) -> None:
    location = str(tmp_path / "study") if kind == "path" else s3.uri(f"studies/{tmp_path.name}")
    folder, files = StudyFolder(location), Folder.at(location, "--storage")
    assert folder.read_study() is None
    assert folder.trials() == []
    study = StudyRecord(
        target="mf", scenario="home", parameters=["a"], seed=0, trials=3, data="d", until=5, config_hash="c"
    )
    folder.write_study(study)
    assert folder.read_study() == study
    ended, begun = record(2, 0.5, a=1), record(10, None, a=None)
    folder.write_trial(begun)
    folder.write_trial(ended)
    assert folder.trials() == [ended, begun]
    # A record that was torn in the middle counts as never started.
    files.write("trials/0002.json", ended.model_dump_json()[:40].encode())
    assert folder.trials() == [begun]
    values = np.array([0.25, 0.0], dtype=np.float32)
    folder.write_per_user(2, values)
    assert folder.per_user(2).tolist() == [0.25, 0.0]
    with pytest.raises(ConfigError, match=r"trials/0003.npy cannot be read"):
        folder.per_user(3)
    folder.write_tables([ended.model_copy(update={"node": "10.0.0.2", "repeats": 1}), begun])
    assert [one["number"] for one in json.loads(files.read("trials.json"))] == [2, 10]
    lines = files.read("trials.csv").decode().splitlines()
    assert lines[0] == "number,state,score,low,high,fit_seconds,evaluate_seconds,a,node,repeats,error"
    assert lines[1] == "2,complete,0.5,,,1.0,,1,10.0.0.2,1,"
    assert lines[2] == "10,stopped,,,,1.0,,,,0,"
    files.write("study.json", b"{")
    with pytest.raises(ConfigError, match="is damaged or of another version"):
        folder.read_study()


def test_a_study_in_object_storage_is_gone_on_with(
    trained_home: Path, s3: ObjectStore, tmp_path: Path
) -> None:
    tables, place = snapshot(trained_home), s3.uri(f"studies/{tmp_path.name}")
    study_of(trained_home, place).prepare(tables, trials=3, resume=False)
    with pytest.raises(ConfigError, match=r"^s3://bundles/studies/\S+ holds a study of 'mf'"):
        study_of(trained_home, place).prepare(tables, trials=3, resume=False)
    again = study_of(trained_home, place)
    again.prepare(tables, trials=None, resume=True)
    assert again.trials == 3


def test_a_study_runs_once_at_a_time(tmp_path: Path) -> None:
    first, second = StudyFolder(tmp_path / "study"), StudyFolder(tmp_path / "study")
    with first.locked(), pytest.raises(ConflictError, match="another run of the study in"), second.locked():
        pass
    with second.locked():
        pass


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    study = StudyRecord(
        target="mf", scenario="home", parameters=[], seed=0, trials=3, data="d", until=5, config_hash="c"
    )
    with pytest.raises(ConfigError, match="cannot be written: Not a directory"):
        StudyFolder(tmp_path / "file" / "study").write_study(study)


# Importance and the report

DIMENSIONS = (
    Dimension("matters", 1.0, low=0.1, high=10.0, log=True),
    Dimension("idle", 5, low=1, high=9, whole=True),
    Dimension("kind", "a", choices=("a", "b", None)),
    Dimension("maybe", None, low=0.0, high=1.0, optional=True),
)


def planted(count: int) -> list[TrialRecord]:
    rng = np.random.default_rng(0)
    trials = []
    for number in range(count):
        matters = float(10 ** rng.uniform(-1, 1))
        values = {
            "matters": matters,
            "idle": int(rng.integers(1, 10)),
            "kind": ("a", "b", None)[int(rng.integers(3))],
            "maybe": None if rng.random() < 0.5 else float(rng.random()),
        }
        trials.append(record(number, 0.2 + 0.05 * np.log10(matters) + 0.003 * rng.normal(), **values))
    return trials


def test_importance_finds_the_parameter_that_matters() -> None:
    shares = importances(planted(40), DIMENSIONS)
    assert next(iter(shares)) == "matters"
    assert shares["matters"] > 0.7
    assert max(shares[name] for name in ("idle", "kind", "maybe")) < 0.2
    assert importances(planted(7), DIMENSIONS) == {}


def result_of(trials: list[TrialRecord], test: Comparison | None) -> Result:
    complete = sorted((one for one in trials if one.score is not None), key=lambda one: -(one.score or 0))
    best = complete[0]
    challenger = next((one for one in complete if one.number != 0), best)
    study = StudyRecord(
        target="<mf>", scenario="home", parameters=[], seed=0, trials=9, data="d", until=5, config_hash="c"
    )
    validation = Comparison(0.25, 0.2, Interval(0.05, 0.01, 0.09), 80)
    return Result(study, trials, best, challenger, validation, test)


PLACE = re.compile(r"[^\s,%]+")


def charts_of(page: str) -> list[ElementTree.Element]:
    main = page[page.index("<main>") : page.index("</main>")] + "</main>"
    return list(ElementTree.fromstring(main).iter("figure"))


def test_the_report_is_well_formed_and_complete() -> None:
    trials = [*planted(12), record(12, None, matters=1.0, idle=2, kind="a", maybe=None)]
    trials.append(trials[-1].model_copy(update={"number": 13, "state": TrialState.FAILED, "error": "<b>"}))
    target = Target("<mf>", "home", Space(DIMENSIONS), False)
    page = report.render(result_of(trials, None), target)
    assert "&lt;mf&gt;" in page
    assert "<mf>" not in page
    assert "http://" not in page
    assert "https://" not in page
    history, parallel, bars = charts_of(page)
    assert len(history.findall(".//circle")) == 12
    assert len(history.findall(".//text[@class='cross']")) == 2
    lines = [line for line in parallel.iter("polyline") if str(line.get("class")).startswith("through")]
    assert len(lines) == 12
    assert len(lines[0].get("points", "").split()) == len(DIMENSIONS) + 1
    assert len([line for line in lines if line.get("class") == "through top"]) == 1
    assert len(bars.findall(".//rect")) == len(DIMENSIONS)
    for plot in (history, parallel, bars):
        keys = ("x", "y", "cx", "cy", "x1", "y1", "width", "points")
        numbers = [
            number for node in plot.iter() for key in keys for number in PLACE.findall(node.get(key, ""))
        ]
        assert numbers
        assert all(-100 <= float(number) <= 200 for number in numbers)


def test_a_report_of_a_single_trial_can_be_drawn() -> None:
    trials = [record(0, 0.2, matters=1.0, idle=2, kind="a", maybe=None)]
    page = report.render(result_of(trials, None), Target("mf", "home", Space(DIMENSIONS), False))
    assert "No other trial is complete." in page
    assert "nothing can be said" in page
    assert len(charts_of(page)) == 2


@pytest.mark.parametrize(
    ("interval", "words"),
    [
        (Interval(0.05, 0.01, 0.09), "beats the configured values on the test window by +0.0500"),
        (Interval(0.01, -0.01, 0.03), "cannot be told apart on the test window"),
        (Interval(-0.05, -0.09, -0.01), "is worse than the configured values on the test window"),
    ],
)
def test_the_verdict_goes_by_the_test_window(interval: Interval, words: str) -> None:
    trials = planted(12)
    result = result_of(trials, Comparison(0.3, 0.25, interval, 80))
    if result.best.number == 0:
        result = replace(result, best=trials[1])
    assert words in verdict(result)


def test_configured_values_that_are_the_best_are_set_beside_the_closest() -> None:
    trials = [record(0, 0.9, matters=1.0, idle=2, kind="a", maybe=None), *planted(12)[1:]]
    result = result_of(trials, None)
    assert result.default_is_best
    closest = max(trials[1:], key=lambda one: one.score or 0).number
    expected = (
        f"No trial beat the configured values; the closest is trial {closest}, on the validation window"
    )
    assert verdict(result).startswith(expected)
