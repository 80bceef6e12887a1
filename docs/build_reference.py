"""Writes docs/reference/*.md from the code: every setting, and every component with its parameters.

Run by ``make docs``. The output is committed, and a test checks that it is up to date.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from recserve.config import (
    Config,
    EncoderConfig,
    FieldConfig,
    FrequencyCapConfig,
    GorseConfig,
    HookConfig,
    HookFieldsConfig,
    KafkaConfig,
    OutcomesConfig,
    PipelineConfig,
    PromotionConfig,
    RetrieverConfig,
    ServerConfig,
    SignatureConfig,
    SinkConfig,
    SourceConfig,
    StageConfig,
    StoreConfig,
    StreamsConfig,
    TrainConfig,
    TuneConfig,
    WebhookConfig,
)
from recserve.data.entities import DEFAULT_EVENT_TYPES, EventType
from recserve.plugin.registry import Registry
from recserve.telemetry.instruments import INSTRUMENTS, ORIGIN_LABELS

HERE = Path(__file__).parent / "reference"
STANDARD = {
    "builtins",
    *(
        folder.name.removeprefix("recserve-").replace("-", "_")
        for folder in (Path(__file__).parents[1] / "plugins").glob("recserve-*")
    ),
}

SECTIONS: list[tuple[str, type[BaseModel]]] = [
    ("top level", Config),
    ("store", StoreConfig),
    ("encoder", EncoderConfig),
    ("events.NAME", EventType),
    ("scenarios.NAME", PipelineConfig),
    ("scenarios.NAME.retrievers[]", RetrieverConfig),
    ("scenarios.NAME.frequency_cap", FrequencyCapConfig),
    ("train", TrainConfig),
    ("tune", TuneConfig),
    ("promotion", PromotionConfig),
    ("outcomes", OutcomesConfig),
    ("server", ServerConfig),
    ("server.gorse", GorseConfig),
    ("server.ingress, .retrieval, .encoding, .ranking", StageConfig),
    ("streams", StreamsConfig),
    ("streams.hooks.NAME", HookConfig),
    ("streams.hooks.NAME.fields", HookFieldsConfig),
    ("streams.hooks.NAME.fields.NAME", FieldConfig),
    ("streams.hooks.NAME.signature", SignatureConfig),
    ("streams.kafka", KafkaConfig),
    ("streams.source", SourceConfig),
    ("streams.sinks.NAME", SinkConfig),
    ("streams.sinks.NAME.webhook", WebhookConfig),
]


def type_of(schema: dict[str, Any]) -> str:
    """A short name of a JSON schema's type."""
    if "anyOf" in schema:
        return " or ".join(type_of(variant) for variant in schema["anyOf"])
    if "$ref" in schema:
        return schema["$ref"].rpartition("/")[2]
    if "enum" in schema:
        return " / ".join(f"`{choice}`" for choice in schema["enum"])
    if "const" in schema:
        return f"`{schema['const']}`"
    if schema.get("type") == "array" and isinstance(schema.get("items"), dict):
        return f"list of {type_of(schema['items'])}"
    return str(schema.get("type", "any"))


def rows(model: type[BaseModel]) -> Iterator[str]:
    """A table of a model's fields."""
    schema = model.model_json_schema()
    yield "| key | type | default | meaning |"
    yield "| --- | --- | --- | --- |"
    for name, field in schema.get("properties", {}).items():
        default = field.get("default", "")
        shown = "" if default == "" else f"`{json.dumps(default, ensure_ascii=False)}`"
        if len(shown) > 60:
            shown = "see below"
        text = field.get("description", "").replace("|", "\\|").replace("\n", " ")
        if "search" in field:
            text += f" Searched by tuning: `{json.dumps(field['search'])}`."
        yield f"| `{name}` | {type_of(field).replace('|', '/')} | {shown} | {text} |"


def configuration() -> str:
    """The page of all settings."""
    lines = ["# Configuration", "", "`recserve.yaml` in the home folder, or `--config FILE`.", ""]
    for title, model in SECTIONS:
        lines += [f"## {title}", "", (model.__doc__ or "").split("\n\n")[0].strip(), "", *rows(model), ""]
    lines += ["## Default event types", "", "| type | weight | value |", "| --- | --- | --- |"]
    for name, kind in DEFAULT_EVENT_TYPES.items():
        value = f"scale {list(kind.value_range)}" if kind.value_range else "count" if kind.log_value else ""
        lines.append(f"| `{name}` | {kind.weight:g} | {value} |")
    return "\n".join(lines) + "\n"


def components() -> str:
    """The page of all components of the built-in plugins."""
    lines = ["# Components", "", "What the built-in plugins register, with their parameters.", ""]
    for plugin in Registry.discover().plugins:
        if plugin.name not in STANDARD:
            continue
        for stage, found in plugin.components.items():
            for component in found:
                lines += [f"## {stage.value} `{component.name}` (plugin `{plugin.name}`)", ""]
                lines += [component.summary, ""]
                if component.params.model_fields:
                    lines += [*rows(component.params), ""]
    return "\n".join(lines)


def metrics() -> str:
    """The page of all metrics."""
    lines = [
        "# Metrics",
        "",
        "What `GET /v1/metrics` shows ([how to observe a server](../how-to/observe.md)). Every series also "
        "has the labels " + ", ".join(f"`{label}`" for label in ORIGIN_LABELS) + ": where it was counted.",
        "",
        "| metric | type | labels | meaning |",
        "| --- | --- | --- | --- |",
    ]
    for one in INSTRUMENTS:
        labels = ", ".join(f"`{label}`" for label in one.labels)
        lines.append(f"| `{one.name}` | {one.kind} | {labels} | {one.text} |")
    return "\n".join(lines) + "\n"


PAGES = {"configuration.md": configuration, "components.md": components, "metrics.md": metrics}


def main() -> None:
    """Write all pages."""
    HERE.mkdir(exist_ok=True)
    for name, page in PAGES.items():
        (HERE / name).write_text(page(), encoding="utf-8")
        print(f"wrote {HERE / name}")


if __name__ == "__main__":
    main()
