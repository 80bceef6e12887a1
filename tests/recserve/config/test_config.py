"""Configuration: strict, with messages that name the key, the value and the nearest valid name."""

from __future__ import annotations

from pathlib import Path

import pytest

from recserve.bundles.repository import BundleRepository
from recserve.config import Config, load_config, parse_config, plain_config
from recserve.errors import ConfigError
from recserve.plugin.registry import Registry
from recserve.store import parse_url


def refused(raw: object) -> str:
    with pytest.raises(ConfigError) as caught:
        Registry.discover().resolve(parse_config(raw))
    assert "\n" not in caught.value.message
    return caught.value.message


def scenario(**changes: object) -> dict[str, object]:
    return {"scenarios": {"home": {"retrievers": [{"use": "popular"}], **changes}}}


def test_defaults_resolve() -> None:
    resolved = Registry.discover().resolve(Config())
    home = resolved.scenarios["home"]
    assert [one.name for one in home.retrievers] == ["mf", "item_knn", "content", "popular"]
    assert home.ranker is not None
    assert home.ranker.name == "bert_lstm"
    assert home.fallback is home.retrievers[3]


def test_unknown_key_names_the_nearest() -> None:
    message = refused(scenario(retreivers=[]))
    assert "unknown key 'scenarios.home.retreivers'" in message
    assert "did you mean 'retrievers'" in message


def test_unknown_component_names_key_value_and_nearest() -> None:
    message = refused({"scenarios": {"home": {"retrievers": [{"use": "populr"}]}}})
    assert "scenarios.home.retrievers[0].use: unknown retriever 'populr'" in message
    assert "did you mean 'popular'" in message


def test_wrong_stage_is_named() -> None:
    message = refused(scenario(ranker={"use": "popular"}))
    assert "scenarios.home.ranker.use: 'popular' is a retriever, not a ranker" in message


def test_bad_parameter_names_component_key_and_nearest() -> None:
    message = refused({"scenarios": {"home": {"retrievers": [{"use": "mf", "params": {"dimensoin": 8}}]}}})
    assert "scenarios.home.retrievers[0].params (retriever 'mf')" in message
    assert "did you mean 'dimension'" in message
    message = refused({"scenarios": {"home": {"retrievers": [{"use": "mf", "params": {"dimension": -1}}]}}})
    assert "dimension = -1" in message


def test_missing_encoder_is_named() -> None:
    message = refused({"encoder": None, "scenarios": {"home": {"retrievers": [{"use": "content"}]}}})
    assert "scenarios.home.retrievers[0]: retriever 'content' needs text vectors" in message


def test_a_parameter_decides_whether_vectors_are_needed() -> None:
    plain = {"encoder": None, "scenarios": {"home": {"retrievers": [{"use": "mf"}]}}}
    ranker = plain["scenarios"]["home"].setdefault("ranker", {"use": "bert_lstm"})
    assert "scenarios.home.ranker: ranker 'bert_lstm' needs text vectors" in refused(plain)
    ranker["params"] = {"text": False}
    resolved = Registry.discover().resolve(parse_config(plain))
    assert resolved.scenarios["home"].ranker is not None
    assert not resolved.scenarios["home"].ranker.needs_vectors


def test_one_component_with_two_sets_of_params_is_refused() -> None:
    message = refused(
        {
            "scenarios": {
                "home": {"retrievers": [{"use": "mf", "params": {"dimension": 8}}]},
                "similar": {"retrievers": [{"use": "mf", "params": {"dimension": 16}}]},
            }
        }
    )
    assert "scenarios.similar.retrievers[0]" in message
    assert "other params than at scenarios.home.retrievers[0]" in message


def test_same_retriever_twice_is_refused() -> None:
    message = refused({"scenarios": {"home": {"retrievers": [{"use": "popular"}, {"use": "popular"}]}}})
    assert "listed twice" in message


def test_event_types_add_to_the_defaults() -> None:
    config = parse_config({"events": {"listen": {"weight": 2.0}}})
    assert config.event_types["listen"].weight == 2.0
    assert "purchase" in config.event_types
    assert "must be [low, high]" in refused({"events": {"stars": {"value_range": [5, 1]}}})


def test_training_hash_ignores_serving_but_not_models() -> None:
    base = Config()
    assert parse_config({"server": {"port": 9000}}).training_hash() == base.training_hash()
    assert parse_config({"train": {"seed": 1}}).training_hash() != base.training_hash()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a: [1", "not valid YAML"),
        (b"- 1\n- 2\n", "must be a mapping"),
        (b"\xff\xfe\x00", "cannot read"),
        (b"server: {port: 99999}", "server.port = 99999"),
        (b"scenarios: {}", "scenarios"),
        (
            b"scenarios: {home: {retrievers: [{use: mf}], frequency_cap: {impressions: 21}}}",
            "scenarios.home.frequency_cap.impressions = 21",
        ),
        (
            b"store: {retention_days: 1}\nscenarios: {home: {retrievers: [{use: mf}], "
            b"frequency_cap: {impressions: 2, window_hours: 48}}}",
            "scenarios.home.frequency_cap.window_hours (48) is longer than store.retention_days (1)",
        ),
    ],
)
def test_bad_files_are_one_line(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "recserve.yaml"
    path.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    assert message in caught.value.message
    assert "\n" not in caught.value.message


def test_missing_and_empty_files(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no configuration file"):
        load_config(tmp_path / "none.yaml")
    (tmp_path / "empty.yaml").touch()
    assert load_config(tmp_path / "empty.yaml") == Config()


def test_settings_may_come_from_the_environment_and_are_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = parse_config({"store": {"url": "postgresql://app:${DB_PASSWORD}@db/shop"}})
    with pytest.raises(ConfigError, match=r"store\.url: the environment variable DB_PASSWORD is not set"):
        parse_url(config.store.url, tmp_path)
    monkeypatch.setenv("DB_PASSWORD", "s3cret")
    assert parse_url(config.store.url, tmp_path).password == "s3cret"
    assert "s3cret" not in config.model_dump_json()
    monkeypatch.setenv("BUCKET", str(tmp_path / "elsewhere"))
    assert BundleRepository(tmp_path, "${BUCKET}").local == tmp_path / "elsewhere"


FIELDS = {"user_id": "$.who", "item_id": ["what", "0.@"], "event": {"constant": "view"}}
HOOK = {"secret": "${HOOK_SECRET}", "fields": FIELDS}


def test_streams_travel_to_other_processes_as_they_are() -> None:
    """With all defaults written out, which nobody may take for what somebody wrote."""
    webhook = {"webhook": {"url": "https://example.com/hook", "secret": "${SINK_SECRET}"}}
    streams = {
        "hooks": {"standard": HOOK, "github": {**HOOK, "scheme": "github", "names": {"seen": "view"}}},
        "sinks": {"topics": {"topics": {"events": "t"}}, "webhook": webhook},
    }
    config = parse_config({"streams": streams})
    assert Config.model_validate_json(config.model_dump_json()) == config
    assert plain_config(config)["streams"] == streams
    sinks = config.streams.sinks
    assert (sinks["topics"].kinds, sinks["webhook"].kinds) == ({"events"}, {"exposures", "deletions"})


def test_streams_are_checked() -> None:
    assert (
        parse_config({"streams": {"source": {"topics": {"t": "events"}}}}).training_hash()
        == Config().training_hash()
    )
    for streams, message in (
        ({"source": {"topics": {"t": "event"}}}, "should be 'events', 'items', 'users' or 'deletions'"),
        ({"source": {"topics": {"a b": "events"}}}, "no name of a topic"),
        (
            {"source": {"topics": {"t": "events"}, "dead_letters": "t"}},
            "cannot be read and take dead letters",
        ),
        ({"sinks": {"w": {}}}, "either topics or a webhook"),
        ({"sinks": {"W!": {"topics": {"events": "t"}}}}, "no name of a sink"),
        ({"sinks": {"w": {"topics": {"events": "t"}, "send": ["events"]}}}, "said by its topics"),
        ({"sinks": {"w": {"webhook": {"url": "example.com", "secret": "x"}}}}, "write a URL such as"),
        ({"hooks": {"W!": HOOK}}, "no name of a sink or hook"),
        ({"hooks": {"w": {**HOOK, "scheme": "hmac"}}}, "scheme hmac needs it"),
        ({"hooks": {"w": {**HOOK, "signature": {"header": "X"}}}}, "signature goes with scheme hmac"),
        ({"hooks": {"w": {**HOOK, "scheme": "github", "tolerance_seconds": 5}}}, "does not sign a time"),
        ({"hooks": {"w": {**HOOK, "each": "a..b"}}}, r"'a\.\.b' is no path"),
        ({"hooks": {"w": {**HOOK, "names": {"x": "buy"}}}}, r"hooks\.w\.names: unknown event type 'buy'"),
        ({"hooks": {"w": {**HOOK, "fields": {**FIELDS, "event": {"constant": "veiw"}}}}}, "mean 'view'"),
        ({"hooks": {"w": {**HOOK, "fields": {**FIELDS, "item_id": {}}}}}, "write a path, a list of paths"),
        ({"hooks": {"w": {**HOOK, "fields": {"user_id": "u", "event": "e"}}}}, "an item_id, a text, or both"),
        ({"hooks": {"w": {**HOOK, "fields": {**FIELDS, "user": "u"}}}}, "did you mean 'user_id'"),
        ({"kafka": {"servers": "http://kafka:9092"}}, "is not HOST:PORT"),
        ({"kafka": {"protocol": "SASL_SSL"}}, "needs username and password"),
        ({"kafka": {"username": "u", "password": "hidden"}}, "need protocol SASL_SSL"),
        ({"kafka": {"ca_file": "ca.pem"}}, "need protocol SSL"),
        ({"kafka": {"protocol": "SSL", "key_file": "k.pem"}}, "needs certificate_file"),
    ):
        with pytest.raises(ConfigError, match=message):
            parse_config({"streams": streams})


def test_mistakes_do_not_show_what_may_be_a_password() -> None:
    for kafka in ({"username": "u", "password": "hidden"}, {"password": ["hidden"]}):
        with pytest.raises(ConfigError) as refusal:
            parse_config({"streams": {"kafka": kafka}})
        assert "hidden" not in refusal.value.message
    servers = parse_config({"streams": {"kafka": {"servers": "a:1, b:2"}}}).streams.kafka.servers
    assert servers == ("a:1", "b:2")
