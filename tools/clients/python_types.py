"""Schemas as Python: answers become dataclasses, what is sent becomes typed dictionaries."""

from __future__ import annotations

import keyword
from collections import defaultdict
from collections.abc import Iterable, Mapping
from textwrap import fill

from tools.clients.operations import Operation, Schema, closure, fields

HEADER = '"""{doc}\n\nGenerated from the OpenAPI document by ``python -m tools.clients``; do not edit.\n"""\n'
SHARED = "shared"

_SCALARS = {"string": "str", "integer": "int", "number": "float", "boolean": "bool", "null": "None"}
_WIDTH = 100


def answer_name(schema: str) -> str:
    """Name of the dataclass of a schema: ``PageAnswer`` is ``Page``."""
    return schema.removesuffix("Answer")


def param_name(schema: str) -> str:
    """Name of the typed dictionary of a schema: ``EventBody`` is ``EventParam``."""
    return f"{schema.removesuffix('Body')}Param"


def argument(name: str) -> str:
    """A name that Python allows for an argument: ``from`` is ``from_``."""
    return f"{name}_" if keyword.iskeyword(name) else name


def hint(schema: Schema, *, sent: bool) -> str:
    """The type of a schema.

    Args:
        schema: JSON schema.
        sent: It is part of what the client sends, where lists may be any sequence and times ``datetime``.
    """
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return param_name(name) if sent else answer_name(name)
    if "const" in schema:
        return f"Literal[{schema['const']!r}]"
    if "enum" in schema:
        return f"Literal[{', '.join(repr(one) for one in schema['enum'])}]"
    if "anyOf" in schema:
        kinds = dict.fromkeys(hint(one, sent=sent) for one in schema["anyOf"])
        return " | ".join(sorted(kinds, key=lambda one: one == "None"))
    match schema.get("type"):
        case "string" if schema.get("format") == "date-time" and sent:
            return "datetime | str"
        case "array":
            inner = hint(schema["items"], sent=sent)
            return f"Sequence[{inner}]" if sent else f"list[{inner}]"
        case "object":
            values = schema.get("additionalProperties")
            inner = hint(values, sent=sent) if isinstance(values, Mapping) else "Any"
            return f"Mapping[str, {inner}]" if sent else f"dict[str, {inner}]"
        case str(kind):
            return _SCALARS[kind]
    return "Any"


def answer_modules(operations: Iterable[Operation], schemas: Mapping[str, Schema]) -> dict[str, str]:
    """Source of the modules of ``answers``, by name: one a tag, and one of what several tags share."""
    tags: dict[str, list[str]] = defaultdict(list)
    for one in operations:
        if one.answer is not None:
            tags[one.tag].append(one.answer)
    users: dict[str, set[str]] = defaultdict(set)
    for tag, names in tags.items():
        for name in closure(names, schemas):
            users[name].add(tag)
    modules: dict[str, list[str]] = defaultdict(list)
    for name in closure([name for names in tags.values() for name in names], schemas):
        modules[_home(users[name])].append(name)
    made = {module: _answers(module, names, users, schemas) for module, names in modules.items()}
    made["__init__"] = _gathered(modules)
    return made


def _home(tags: set[str]) -> str:
    return next(iter(tags)) if len(tags) == 1 else SHARED


def _gathered(modules: Mapping[str, list[str]]) -> str:
    lines = [HEADER.format(doc="Answers of the server, as dataclasses.")]
    for module, names in modules.items():
        shown = ", ".join(sorted(answer_name(name) for name in names))
        lines.append(f"from recserve_client.answers.{module} import {shown}")
    everything = sorted(answer_name(name) for names in modules.values() for name in names)
    return "\n".join([*lines, f"__all__ = {everything!r}\n"])


def _answers(
    module: str, names: list[str], users: Mapping[str, set[str]], schemas: Mapping[str, Schema]
) -> str:
    doc = "Answers that several groups of calls share." if module == SHARED else f"Answers about {module}."
    lines = [HEADER.format(doc=doc), "from __future__ import annotations"]
    lines += ["from dataclasses import dataclass", "from typing import Any, Literal", ""]
    foreign = {
        answer_name(inner)
        for name in names
        for inner in closure([name], schemas)
        if module != SHARED and _home(users[inner]) == SHARED
    }
    if foreign:
        lines.append(f"from recserve_client.answers.{SHARED} import {', '.join(sorted(foreign))}")
    for name in names:
        lines += ["", "", *_dataclass(name, schemas[name])]
    return "\n".join(lines) + "\n"


def _dataclass(name: str, schema: Schema) -> list[str]:
    """A frozen dataclass; what a schema does not require may be missing, and is then None."""
    given = sorted(fields(schema), key=lambda one: not one.required)
    lines = ["@dataclass(frozen=True, slots=True)", f"class {answer_name(name)}:"]
    lines += _docstring(
        str(schema.get("description", name)),
        "Attributes",
        {one.name: one.description for one in given},
        "    ",
    )
    for one in given:
        kind = hint(one.schema, sent=False)
        lines.append(f"    {one.name}: {kind if one.required else optional(kind) + ' = None'}")
    return lines


def optional(kind: str) -> str:
    """A type, or None."""
    return kind if kind.endswith("None") or kind == "Any" else f"{kind} | None"


def params_module(names: Iterable[str], schemas: Mapping[str, Schema]) -> str:
    """Source of ``params``: what the arguments of calls are made of."""
    lines = [
        HEADER.format(doc="What calls send, as typed dictionaries."),
        "from __future__ import annotations",
    ]
    lines += ["from collections.abc import Mapping, Sequence", "from datetime import datetime"]
    lines += ["from typing import Any, Literal, NotRequired, TypedDict", ""]
    codes = ", ".join(repr(code) for code in schemas["ErrorCode"]["enum"])
    lines += [f"ErrorCode = Literal[{codes}]", f'"""{schemas["ErrorCode"]["description"]}"""', ""]
    for name in closure(names, schemas):
        given = list(fields(schemas[name]))
        lines += ["", f"class {param_name(name)}(TypedDict):"]
        described = {one.name: one.description for one in given}
        lines += _docstring(str(schemas[name].get("description", name)), "Attributes", described, "    ")
        for one in given:
            kind = hint(one.schema, sent=True)
            lines.append(f"    {one.name}: {kind if one.required else f'NotRequired[{kind}]'}")
        lines.append("")
    return "\n".join(lines) + "\n"


def _docstring(text: str, heading: str, entries: Mapping[str, str], indent: str) -> list[str]:
    return docstring(text, indent, **{heading: entries})


def docstring(text: str, indent: str, **sections: Mapping[str, str]) -> list[str]:
    """Lines of a docstring in Google's style."""
    first, _, rest = text.strip().partition("\n")
    lines = [f'{indent}"""{_first(first)}']
    body = " ".join(rest.split())
    if body:
        lines += ["", *_wrapped(body, indent)]
    for heading, entries in sections.items():
        if entries:
            lines += ["", f"{indent}{heading}:"]
            for name, described in entries.items():
                lines += _wrapped(f"{name}: {described}", f"{indent}    ", "    ")
    if len(lines) == 1:
        return [f'{lines[0]}"""']
    return [*lines, f'{indent}"""']


def _first(line: str) -> str:
    return line if line.endswith((".", "?", "!")) else f"{line}."


def _wrapped(text: str, indent: str, hanging: str = "") -> list[str]:
    made = fill(
        text,
        _WIDTH,
        initial_indent=indent,
        subsequent_indent=indent + hanging,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return made.replace("\\", "\\\\").splitlines()
