"""Operations as methods of TypeScript, typed by what openapi-typescript makes of the document."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from textwrap import wrap

from tools.clients.operations import Operation, Schema, fields
from tools.clients.python_calls import WRITTEN

_HEAD = """\
// Generated from the OpenAPI document by `python -m tools.clients`; do not edit.

import type { Answer, Body, Call, CallOptions, Query, Schemas } from "./types.js";

/** All calls of the API, but for those that record events. */
export abstract class Operations {
  /** Sends a call and reads its answer. */
  protected abstract send<T>(call: Call, options?: CallOptions): Promise<T>;

  /** An id as a part of a path. */
  protected part(id: string): string {
    if (id === "" || id === "." || id === "..") {
      throw new RangeError(`"${id}" cannot be part of a URL`);
    }
    return encodeURIComponent(id);
  }
"""


def operations_module(operations: Iterable[Operation], schemas: Mapping[str, Schema]) -> str:
    """Source of ``operations.ts``."""
    lines = [_HEAD.rstrip("\n")]
    for one in operations:
        if one.name in WRITTEN:
            continue
        lines += ["", *_method(one)]
        if one.cursor is not None and one.answer is not None:
            lines += ["", *_iterator(one, schemas[one.answer])]
    return "\n".join([*lines, "}", ""])


def camel(name: str) -> str:
    """``list_items`` as ``listItems``."""
    first, *others = name.split("_")
    return first + "".join(part.title() for part in others)


def _method(one: Operation) -> Iterator[str]:
    yield from _comment(f"{one.summary}. {one.description}")
    answer = f'Answer<"{one.name}">'
    arguments = [*_arguments(one), "options?: CallOptions"]
    yield f"  {camel(one.name)}({', '.join(arguments)}): Promise<{answer}> {{"
    sent = [f'method: "{one.method}"', f"path: {_path(one)}"]
    sent += ["query"] if one.query else []
    sent += ["body"] if one.body is not None else []
    sent.append(f"repeatable: {'true' if one.repeatable else 'false'}")
    sent += ["text: true"] if one.answer is None else []
    yield f"    return this.send<{answer}>({{ {', '.join(sent)} }}, options);"
    yield "  }"


def _arguments(one: Operation, without: str = "") -> Iterator[str]:
    for parameter in one.in_path:
        yield f"{parameter.name}: string"
    for kind, given in (("Body", one.body), ("Query", one.query or None)):
        if given is not None:
            shape = f'{kind}<"{one.name}">'
            if without and any(parameter.name == without for parameter in given):
                shape = f'Omit<{shape}, "{without}">'
            needed = any(parameter.required for parameter in given)
            yield f"{kind.lower()}: {shape}{'' if needed else ' = {}'}"


def _path(one: Operation) -> str:
    path = one.path
    for parameter in one.in_path:
        path = path.replace(f"{{{parameter.name}}}", f"${{this.part({parameter.name})}}")
    return f"`{path}`" if one.in_path else f'"{path}"'


def _iterator(one: Operation, answer: Schema) -> Iterator[str]:
    (listed,) = (
        field
        for field in fields(answer)
        if field.schema.get("type") == "array" and "$ref" in field.schema["items"]
    )
    entry = listed.schema["items"]["$ref"].rpartition("/")[2]
    name = camel(f"iter_{one.name.removeprefix('list_')}")
    yield from _comment(f"{one.summary}, page by page, as far as they are read.")
    arguments = [*_arguments(one, "cursor"), "options?: CallOptions"]
    yield f'  async *{name}({", ".join(arguments)}): AsyncGenerator<Schemas["{entry}"], void, undefined> {{'
    where = str(one.cursor)
    given = [parameter.name for parameter in one.in_path]
    if one.body is not None:
        given.append("{ ...body, cursor }" if where == "body" else "body")
    if one.query:
        given.append("{ ...query, cursor }" if where == "query" else "query")
    yield "    let cursor: string | undefined;"
    yield "    do {"
    call = f"this.{camel(one.name)}({', '.join([*given, 'options'])})"
    yield f'      const page: Answer<"{one.name}"> = await {call};'
    yield f"      yield* page.{listed.name};"
    yield "      cursor = page.cursor ?? undefined;"
    yield "    } while (cursor !== undefined);"
    yield "  }"


def _comment(text: str) -> Iterator[str]:
    yield "  /**"
    for line in wrap(" ".join(text.split()), 96, break_long_words=False, break_on_hyphens=False):
        yield f"   * {line}"
    yield "   */"
