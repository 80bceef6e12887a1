"""Tables at the end of an import and of a training: what came in, and what did not and why."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from recserve.cli.common import out

if TYPE_CHECKING:
    from recserve.data.events.coverage import Coverage, UnknownItems
    from recserve.store.ingest import FileReport

Row = tuple[str, int, str]
"""What, how many, and an example."""

MOST_BAD = 0.05
"""Share of bad rows above which a file is refused, unless told otherwise."""

_SHOWN_REASONS = 30
_UNLIMITED = 100_000


def show_account(title: str, unit: str, sections: Mapping[str, Sequence[Row]]) -> None:
    """Print a table with one section a source."""
    table = Table(title, "", unit, "for example", box=box.SIMPLE_HEAD, pad_edge=False)
    table.columns[2].justify = "right"
    for name, rows in sections.items():
        for number, (what, count, example) in enumerate(rows):
            table.add_row("" if number else escape(name), escape(what), f"{count:,}", escape(example))
        table.add_section()
    if out.is_terminal:
        out.print(table)
        return
    # Lines of a file or a pipe are not folded, so that they can be searched.
    wide = Console(width=_UNLIMITED)
    with wide.capture() as captured:
        wide.print(table)
    for line in captured.get().splitlines():
        out.print(line.rstrip(), markup=False, soft_wrap=True)


def file_account(report: FileReport, stored: Sequence[Row]) -> list[Row]:
    """What became of the rows of a file.

    Args:
        report: The file.
        stored: What became of those that were taken.
    """
    rows: list[Row] = [(f"{report.what} read", report.rows, "")]
    rows += [("  " + what, count, example) for what, count, example in stored]
    rows += _reasons(report)
    if report.ignored:
        rows.append(("columns that are not read", len(report.ignored), ", ".join(report.ignored)[:200]))
    return rows


def _reasons(report: FileReport) -> Iterator[Row]:
    words = {
        "error": "  left out: ",
        "blank": "  left out: ",
        "replaced": "  replaced: ",
        "note": "of the stored: ",
    }
    order = list(words)
    counted = sorted(report.counts.items(), key=lambda entry: (order.index(entry[0][0]), -entry[1]))
    for (severity, kind), count in counted[:_SHOWN_REASONS]:
        example = report.example(severity, kind)
        yield words[severity] + kind, count, f"line {example.line}: {example.reason}"
    rest = sum(count for _, count in counted[_SHOWN_REASONS:])
    if rest:
        yield f"  for {len(counted) - _SHOWN_REASONS} other reasons", rest, ""


def unknown_account(unknown: UnknownItems) -> list[Row]:
    """Events about items that are not in the catalogue."""
    if not unknown.events:
        return []
    return [("  of these about items not in the catalogue", unknown.events, repr(unknown.item_ids[0]))]


def training_account(coverage: Coverage, source: str = "store") -> dict[str, list[Row]]:
    """What a training learnt from, and what it did not."""
    unknown = coverage.unknown
    events: list[Row] = [
        (f"events in the {source}", coverage.events, ""),
        ("  learnt from", coverage.learnt, ""),
    ]
    if coverage.texts:
        events.append(("  of words alone, such as searches: about no item", coverage.texts, ""))
    if unknown.events:
        what = f"  left out: of {len(unknown.item_ids):,} items that are not in the catalogue"
        events.append((what, unknown.events, repr(unknown.item_ids[0])))
    for name, count in coverage.unconfigured.items():
        what = f"  left out: type {name!r} is not configured"
        events.append((what, count, f"add events.{name} to recserve.yaml"))
    for name, count in coverage.off_scale.items():
        example = f"{coverage.example_off_scale[name]:g}; see events.{name}.value_range in recserve.yaml"
        events.append((f"of these off the scale of {name!r}, taken as its nearer end", count, example))
    items: list[Row] = [("items in the catalogue", coverage.items, "")]
    if coverage.idle_items:
        items.append(("  without an event that was learnt from", coverage.idle_items, ""))
    return {"events": events, "items": items}
