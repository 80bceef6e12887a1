"""Operations as methods of Python: the same ones for :class:`Client` and for :class:`AsyncClient`."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from tools.clients.operations import Operation, Parameter, Schema, fields, references
from tools.clients.python_types import HEADER, answer_name, argument, docstring, hint, optional

WRITTEN = frozenset({"events"})
"""Operations that the client has methods of its own for, see ``recserve_client.client``."""


@dataclass(frozen=True)
class Kind:
    """How one of the two clients is written.

    Attributes:
        package: Its package of methods.
        base: Class that sends.
        start: Before ``def``.
        wait: Before a call.
        iterator: Type of what a generator returns.
    """

    package: str
    base: str
    start: str
    wait: str
    iterator: str


KINDS = (
    Kind("calls", "Sender", "def", "", "Iterator"),
    Kind("async_calls", "AsyncSender", "async def", "await ", "AsyncIterator"),
)


def call_modules(
    kind: Kind, operations: Iterable[Operation], schemas: Mapping[str, Schema]
) -> dict[str, str]:
    """Source of the modules of one client's methods, by name: a class a tag, and one that has all."""
    tags: dict[str, list[Operation]] = defaultdict(list)
    for one in operations:
        if one.name not in WRITTEN:
            tags[one.tag].append(one)
    made = {tag: _module(kind, tag, found, schemas) for tag, found in tags.items()}
    lines = [HEADER.format(doc="All calls of the API."), "from __future__ import annotations", ""]
    lines += [f"from recserve_client.{kind.package}.{tag} import {_class(tag)}" for tag in tags]
    bases = ", ".join(_class(tag) for tag in tags)
    lines += [
        "",
        "",
        f"class Calls({bases}):",
        '    """All calls of the API."""',
        "",
        "",
        '__all__ = ["Calls"]',
    ]
    made["__init__"] = "\n".join(lines) + "\n"
    return made


def _class(tag: str) -> str:
    return f"{tag.title()}Calls"


def _module(kind: Kind, tag: str, operations: list[Operation], schemas: Mapping[str, Schema]) -> str:
    lines: list[str] = ["", "", f"class {_class(tag)}({kind.base}):", f'    """Calls about {tag}."""']
    for one in operations:
        lines += ["", *_method(kind, one)]
        if one.cursor is not None and one.answer is not None:
            lines += ["", *_iterator(kind, one, schemas[one.answer])]
    text = "\n".join(lines)
    answers = {answer_name(one.answer) for one in operations if one.answer is not None}
    answers |= set(re.findall(r"Iterator\[(\w+)\]", text))
    head = [HEADER.format(doc=f"Calls about {tag}."), "from __future__ import annotations"]
    named = [
        name
        for name in ("AsyncIterator", "Iterator", "Mapping", "Sequence")
        if re.search(rf"\b{name}\[", text)
    ]
    if named:
        head.append(f"from collections.abc import {', '.join(named)}")
    if "datetime" in text:
        head.append("from datetime import datetime")
    typing = [name for name in ("Any", "Literal") if re.search(rf"\b{name}\b", text)]
    if typing:
        head.append(f"from typing import {', '.join(typing)}")
    head.append("")
    if answers:
        head.append(f"from recserve_client.answers import {', '.join(sorted(answers))}")
    head.append(f"from recserve_client.core.sending import {kind.base}, Call")
    params = sorted(set(re.findall(r"\b\w+Param\b", text)))
    if params:
        head.append(f"from recserve_client.params import {', '.join(params)}")
    return "\n".join(head) + text + "\n"


def _arguments(one: Operation) -> tuple[list[Parameter], list[Parameter]]:
    """Positional and keyword arguments: the path, and the only required field, need no names."""
    others = [*one.query, *(one.body or ())]
    required = [parameter for parameter in others if parameter.required]
    positional = [*one.in_path, *(required if len(required) == 1 else ())]
    rest = [parameter for parameter in others if parameter not in positional]
    return positional, sorted(rest, key=lambda parameter: not parameter.required)


def _signature(positional: Iterable[Parameter], named: Iterable[Parameter]) -> str:
    parts = ["self", *(f"{argument(one.name)}: {hint(one.schema, sent=True)}" for one in positional)]
    keywords = [_keyword(one) for one in named]
    return ", ".join([*parts, *(["*", *keywords] if keywords else [])])


def _keyword(one: Parameter) -> str:
    kind = hint(one.schema, sent=True)
    return f"{argument(one.name)}: {kind if one.required else f'{optional(kind)} = None'}"


def _described(parameters: Iterable[Parameter]) -> dict[str, str]:
    return {argument(one.name): _with_default(one) for one in parameters}


def _with_default(one: Parameter) -> str:
    default = one.schema.get("default")
    if one.required or not isinstance(default, bool | int | float | str) or "efault" in one.description:
        return one.description
    return f"{one.description} Default: {str(default).lower() if isinstance(default, bool) else default}."


def _method(kind: Kind, one: Operation) -> list[str]:
    positional, named = _arguments(one)
    answer = "str" if one.answer is None else answer_name(one.answer)
    lines = [f"    {kind.start} {one.name}({_signature(positional, named)}) -> {answer}:"]
    text = f"{one.summary}\n{one.description}"
    lines += docstring(text, "        ", Args=_described([*positional, *named]))
    sent = [f'"{one.method}"', _path(one), answer, f"repeatable={one.repeatable}"]
    if one.query:
        sent.append(f"query={_dictionary(one.query)}")
    if one.body is not None:
        sent.append(f"body={_dictionary(one.body)}")
    lines.append(f"        return {kind.wait}self._send(Call({', '.join(sent)}))")
    return lines


def _path(one: Operation) -> str:
    if not one.in_path:
        return f'"{one.path}"'
    return f'Call.path("{one.path}", {", ".join(argument(parameter.name) for parameter in one.in_path)})'


def _dictionary(parameters: Iterable[Parameter]) -> str:
    return "{" + ", ".join(f'"{one.name}": {argument(one.name)}' for one in parameters) + "}"


def _iterator(kind: Kind, one: Operation, answer: Schema) -> Iterator[str]:
    """Every entry of every page; the answer has one list besides its cursor."""
    positional, named = _arguments(one)
    named = [parameter for parameter in named if parameter.name != "cursor"]
    (listed,) = (
        field
        for field in fields(answer)
        if field.schema.get("type") == "array" and "$ref" in field.schema["items"]
    )
    entry = hint(listed.schema["items"], sent=False)
    name = f"iter_{one.name.removeprefix('list_')}"
    yield f"    {kind.start} {name}({_signature(positional, named)}) -> {kind.iterator}[{entry}]:"
    text = f"{one.summary}, page by page\nAsks for a page when it is needed; see :meth:`{one.name}`."
    yield from docstring(text, "        ")
    given = [argument(parameter.name) for parameter in positional]
    given += [f"{argument(parameter.name)}={argument(parameter.name)}" for parameter in named]
    yield "        cursor: str | None = None"
    yield "        while True:"
    yield f"            page = {kind.wait}self.{one.name}({', '.join([*given, 'cursor=cursor'])})"
    if kind.wait:
        yield f"            for entry in page.{listed.name}:"
        yield "                yield entry"
    else:
        yield f"            yield from page.{listed.name}"
    yield "            if page.cursor is None:"
    yield "                return"
    yield "            cursor = page.cursor"


def sent_schemas(operations: Iterable[Operation]) -> list[str]:
    """Names of the schemas that arguments are made of."""
    found: dict[str, None] = {}
    for one in operations:
        for parameter in (*one.query, *(one.body or ())):
            found.update(dict.fromkeys(references(parameter.schema)))
        found.update(dict.fromkeys(one.alternatives[:1]))
    return list(found)
