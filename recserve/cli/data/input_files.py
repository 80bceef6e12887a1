"""What ``recserve import`` understands of files and says of them before it stores anything."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from recserve.cli.common import State, out, warn
from recserve.errors import ConfigError, DataError, RecserveError

if TYPE_CHECKING:
    from recserve.config import Config
    from recserve.data.dataset import Tables
    from recserve.store.ingest.formats import EventLayout, ItemLayout, Reading

_SAMPLE = 10_000
_SHOWN_CHARACTERS = 200


@dataclass(frozen=True)
class FileOptions:
    """Options of ``recserve import`` that say how files are read, and whether to store them."""

    format: str | None = None
    encoding: str | None = None
    header: str | None = None
    map: Sequence[str] = ()
    event: Sequence[str] = ()
    time: Sequence[str] = ()
    dry_run: bool = False

    def reading(self, config: Config) -> Reading:
        """The options checked.

        Raises:
            ConfigError: One of them cannot be understood.
            DataError: A format, encoding or event type that there is not.
        """
        from recserve.store.ingest.formats import FORMAT_NAMES, Reading, check_format

        if self.format is not None:
            check_format(self.format, FORMAT_NAMES)
        columns: dict[str, tuple[str, ...]] = {}
        for assignment in self.map:
            ours, separator, theirs = assignment.partition("=")
            if not (ours and separator and theirs):
                raise ConfigError(f"--map {assignment!r} must look like user_id=COLUMN")
            columns[ours] = (*columns.get(ours, ()), theirs)
        header = tuple(name.strip() for name in self.header.split(",")) if self.header else ()
        twice = next((name for name in header if name and header.count(name) > 1), None)
        if twice is not None:
            raise ConfigError(f"--header names {twice!r} twice")
        event, events = self._events(config)
        return Reading(
            format=self.format,
            encoding=self.encoding,
            header=header,
            columns=columns,
            event=event,
            events=events,
            times=tuple(self.time),
            event_types=config.event_types,
        )

    def _events(self, config: Config) -> tuple[str | None, dict[str, str]]:
        from recserve.config import nearest

        event, events = None, {}
        for given in self.event:
            theirs, separator, ours = given.rpartition("=")
            if ours not in config.event_types:
                raise ConfigError(f"--event: unknown event type {ours!r}{nearest(ours, config.event_types)}")
            if separator:
                events[theirs] = ours
            else:
                event = ours
        return event, events


@dataclass(frozen=True)
class Files:
    """The files of an import."""

    events: Path | None = None
    items: Path | None = None
    users: Path | None = None
    vectors: tuple[tuple[str, Path], ...] = ()


def vector_files(given: Sequence[str], config: Config) -> tuple[tuple[str, Path], ...]:
    """Files of vectors by the name of their space.

    Raises:
        ConfigError: An option that is not SPACE=FILE, or a space that is not declared.
    """
    from recserve.config import nearest

    found: dict[str, Path] = {}
    for option in given:
        space, separator, path = option.partition("=")
        if not (space and separator and path):
            raise ConfigError(f"--vectors {option!r} must look like image=FILE")
        if space not in config.vectors:
            known = nearest(space, config.vectors) if config.vectors else ""
            raise ConfigError(
                f"--vectors {space}: recserve.yaml declares no such space{known}; add there "
                f"vectors: {{{space}: {{dimensions: N}}}}",
                field=f"vectors.{space}",
            )
        if space in found:
            raise ConfigError(
                f"--vectors names the space {space!r} twice; import its files one after the other"
            )
        found[space] = Path(path)
    return tuple(found.items())


def check_width(space: str, width: int, config: Config, where: str) -> None:
    """Refuse vectors that are not as a space is declared.

    Raises:
        DataError: The space is not declared, or has other dimensions.
    """
    declared = config.space_dimensions.get(space)
    if declared != width:
        has = "does not declare the space" if declared is None else f"declares {declared} dimensions of"
        raise DataError(
            f"{where} has vectors of {width} numbers, but recserve.yaml {has} {space}; write there "
            f"vectors: {{{space}: {{dimensions: {width}}}}}",
            field=f"vectors.{space}",
        )


@dataclass(frozen=True)
class Layouts:
    """How these files are read."""

    events: EventLayout | None
    items: ItemLayout | None
    users: ItemLayout | None


def recognise_files(files: Files, options: FileOptions, config: Config) -> Layouts:
    """Tell how files are read, and say it.

    Raises:
        ConfigError: An option that cannot be understood.
        DataError: A file that cannot be read, or is not what the options say.
    """
    from recserve.store.ingest.formats import recognise_events, recognise_items, recognise_users

    reading = options.reading(config)
    if reading.header and sum(path is not None for path in (files.events, files.items, files.users)) > 1:
        raise ConfigError("--header names the columns of one file; import the files one after the other")
    layouts = Layouts(
        None if files.events is None else recognise_events(files.events, reading),
        None if files.items is None else recognise_items(files.items, reading),
        None if files.users is None else recognise_users(files.users, reading),
    )
    pairs = (
        ("items", files.items, layouts.items),
        ("users", files.users, layouts.users),
        ("events", files.events, layouts.events),
    )
    known = [(kind, path, layout) for kind, path, layout in pairs if path is not None and layout is not None]
    _check_mapped(reading, [layout for _, _, layout in known])
    for kind, path, layout in known:
        _show_layout(kind, path, layout, options.dry_run)
    return layouts


def _check_mapped(reading: Reading, layouts: Sequence[EventLayout | ItemLayout]) -> None:
    used = {
        (ours, name) for layout in layouts for ours, names in layout.columns.sources.items() for name in names
    }
    for ours, theirs in reading.columns.items():
        for name in theirs:
            if (ours, name) not in used:
                raise DataError(f"--map {ours}={name}: no file has a column {name!r} that could be {ours}")


def _show_layout(kind: str, path: Path, layout: EventLayout | ItemLayout, full: bool) -> None:
    """Say what a file was recognised as; of a plain file only if ``full``."""
    notes = [note for note in (*layout.shown_columns(full), *layout.notes) if note]
    if layout.title or notes:
        _say(f"{kind}: {path.name}: {'; '.join([layout.title or 'no known format', *notes])}")


def show_preview(state: State, tables: Tables) -> None:
    """Say what would be imported."""
    from recserve.store.ingest.preview import Preview

    for line in Preview.of(tables, lambda ids: _stored(state, ids)).lines():
        _say(line)


def show_item_text(state: State, tables: Tables, full: bool) -> None:
    """Say what BERT reads of the items that a data set brings, or only what it leaves out of them."""
    from recserve.data.catalogue import Catalogue
    from recserve.plugin.builtins.item_text import FieldsText
    from recserve.plugin.protocols import ItemText, Stage

    if state.config.encoder is None or not len(tables.items):
        return
    catalogue = Catalogue(tables.items["item_id"].to_pylist(), tables.items["attributes"].to_pylist())
    component = state.registry.choose(Stage.ITEM_TEXT, state.config.item_text, "item_text")
    texts: ItemText = component.build(catalogue)
    sample = list(islice(catalogue.items(), _SAMPLE))
    if full and isinstance(texts, FieldsText):
        names = dict.fromkeys(name for item in sample for name in texts.parts(item))
        _say(f"BERT reads of an item: {', '.join(names) or 'nothing'}")
    if full:
        example = next(filter(None, (texts.text(item) for item in sample)), None)
        _say("no item has a text" if example is None else f"such as: {_shortened(example)}")
    if isinstance(texts, FieldsText) and texts.left_out:
        what = ", ".join(f"{name} ({kind})" for name, kind in texts.left_out.items())
        _say(f"BERT does not read: {what}; to have them read, name them in item_text.params.fields")
    _show_language(state, [texts.text(item) for item in sample])


def _show_language(state: State, texts: Sequence[str]) -> None:
    """Say which text encoder the language of items' texts asks for, or what to set."""
    from recserve.bundles.text_language import look_at_texts
    from recserve.data.catalogue import Catalogue
    from recserve.plugin.protocols import Stage

    assert state.config.encoder is not None
    try:
        chosen = state.registry.choose(Stage.ENCODER, state.config.encoder.component(), "encoder")
        found = look_at_texts(chosen.build(Catalogue()), texts)
    except RecserveError:
        # Importing needs no encoder; training does, and says what is wrong with it.
        return
    if found is not None and found.advice:
        warn(f"{found.reason}; {found.advice}")
    elif found is not None:
        _say(f"text encoder {', '.join(map(str, found.params.values()))}: {found.reason}")


def _stored(state: State, ids: list[str]) -> set[str]:
    """Those of the ids that the store has, if there is a store; none is made."""
    from recserve.store import DEFAULT_FILE
    from recserve.store.ingest import stored_items

    if not ids or (state.config.store.url is None and not (state.home / DEFAULT_FILE).exists()):
        return set()
    return stored_items(state.store, ids)


def _shortened(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _SHOWN_CHARACTERS else f"{line[: _SHOWN_CHARACTERS - 1]}…"


def _say(line: str) -> None:
    out.print(line, markup=False, soft_wrap=True)
