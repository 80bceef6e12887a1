"""Variants of a model: the same model with other parameters, measured beside it in the same run."""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from recserve.config import parse_config, plain_config

_ENCODER = "encoder."
_NAME = re.compile(r"[A-Za-z0-9_.-]+")


@dataclass(frozen=True)
class Variant:
    """A model with other parameters.

    Attributes:
        name: What its row is called.
        model: The component it is a variant of.
        params: What differs; ``encoder.NAME`` is a parameter of the text encoder.
    """

    name: str
    model: str
    params: Mapping[str, Any]

    def configure(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """The configuration as plain data with these parameters.

        Only the default scenario matters to `recserve evaluate --model`. A component that it does not use
        becomes one of its retrievers; the pipeline is not what is measured with this configuration.
        """
        parsed = parse_config(dict(config), f"variant {self.name}")
        plain = plain_config(parsed)
        scenario = plain["scenarios"][parsed.default_scenario]
        parts = [
            *scenario["retrievers"],
            *(scenario[key] for key in ("ranker", "fallback") if scenario.get(key)),
        ]
        used = [one for one in parts if one["use"] == self.model]
        if not used:
            used = [{"use": self.model}]
            scenario["retrievers"].append(used[0])
        encoder = {key: value for key, value in self.params.items() if key.startswith(_ENCODER)}
        own = {key: value for key, value in self.params.items() if key not in encoder}
        for one in used:
            one["params"] = {**one.get("params", {}), **own}
        if encoder:
            written = plain.setdefault("encoder", {})
            named = {key.removeprefix(_ENCODER): value for key, value in encoder.items()}
            written["params"] = {**written.get("params", {}), **named}
        return plain


def parse(text: str) -> Variant:
    """Read ``NAME=MODEL:KEY=VALUE,KEY=VALUE``, values as in YAML.

    Raises:
        ArgumentTypeError: It is written otherwise.
    """
    name, _, rest = text.partition("=")
    model, _, listed = rest.partition(":")
    pairs = [one.partition("=") for one in listed.split(",")]
    if not _NAME.fullmatch(name) or not model or not all(key and sign for key, sign, _ in pairs):
        raise argparse.ArgumentTypeError(
            f"{text!r}: write NAME=MODEL:PARAMETER=VALUE,..., such as no_text=bert_lstm:text=false"
        )
    return Variant(name, model, {key.strip(): yaml.safe_load(value) for key, _, value in pairs})


def check(variants: Sequence[Variant], models: Sequence[str], known: Sequence[str]) -> None:
    """Refuse names that are taken, and models that are none.

    Raises:
        SystemExit: Says which.
    """
    names = [one.name for one in variants]
    for one in variants:
        if one.name in {*models, *known} or names.count(one.name) > 1:
            raise SystemExit(f"--variant {one.name}: there is another row of this name")
        if one.model not in known:
            raise SystemExit(f"--variant {one.name}: no model is called {one.model!r}")
