"""What vectors of pictures are worth where the colour of a picture decides who likes it.

    python -m benchmarks.pictures [--items 600] [--users 300] [--events 20] [--seed 0] [--json FILE]

Items get pictures (a shape in one of eight colours on a grey ground, with noise) and titles that say nothing
of the colour. Everybody likes two colours. The catalogue grows while people act, so that many items have few
events or none. The retriever ``content`` is fitted without and with the vectors that EfficientNet-Lite0 makes
of the pictures (plugin recserve-image), and both are evaluated as ``recserve evaluate`` does: on the newest
tenth of the events, among all items, after the leak checks. Differences are paired over users, with 95%
intervals. A third row has the vectors dealt out to other items at random: what the choice of weights makes of
a space that says nothing.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from PIL import Image, ImageDraw
from rich.console import Console
from rich.table import Table

from benchmarks.common import cpu_seconds, write_json
from recserve.bundles.catalogue_vectors import encode_catalogue
from recserve.config import parse_config
from recserve.data.catalogue import Catalogue
from recserve.data.dataset import Dataset
from recserve.data.entities import Item
from recserve.evaluation import (
    Report,
    RetrieverRecommender,
    SliceFigures,
    evaluate,
    paired_difference,
    temporal,
)
from recserve.plugin.registry import Registry
from recserve.training.fitting import fit_component, fit_context

COLOURS = (
    (200, 50, 50), (50, 180, 60), (60, 80, 200), (210, 190, 60),
    (150, 70, 180), (60, 180, 190), (220, 130, 50), (120, 80, 60),
)  # fmt: skip
WORDS = ("lamp", "chair", "bag", "mug", "clock", "shelf", "scarf", "vase", "rug", "tray")
SIDE = 96
DAY = 86_400_000
METRIC = "ndcg@10"


@dataclass(frozen=True)
class World:
    """A made-up shop: its items with pictures in a folder, and events as a canonical table."""

    items: list[Item]
    events: pa.Table


def draw(colour: tuple[int, int, int], random: np.random.Generator) -> Image.Image:
    """A picture of a thing of this colour."""
    picture = Image.new("RGB", (SIDE, SIDE), (150, 150, 150))
    left, top = random.integers(5, 25, 2).tolist()
    right, bottom = (SIDE - random.integers(5, 25, 2)).tolist()
    shape = (ImageDraw.ImageDraw.rectangle, ImageDraw.ImageDraw.ellipse)[int(random.integers(2))]
    shape(ImageDraw.Draw(picture), (left, top, right, bottom), fill=colour)
    noisy = np.asarray(picture) + random.normal(0, 25, (SIDE, SIDE, 3))
    return Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8))


def make(folder: Path, n_items: int, n_users: int, n_events: int, seed: int) -> World:
    """Draw pictures into a folder and have people act."""
    random = np.random.default_rng(seed)
    colours = random.integers(0, len(COLOURS), n_items)
    items = []
    for row, colour in enumerate(colours):
        draw(COLOURS[colour], random).save(folder / f"{row}.jpg", quality=90)
        title = " ".join(random.choice(WORDS, 2, replace=False))
        items.append(Item(f"i{row:05}", {"title": title, "image": f"{row}.jpg"}))
    rows = []
    for user in range(n_users):
        taste = random.choice(len(COLOURS), 2, replace=False)
        for step in range(n_events):
            moment = (step + random.random()) / n_events
            out = int(n_items * (0.3 + 0.7 * moment))  # items that are out by then
            suits = np.flatnonzero(np.isin(colours[:out], taste))
            item = int(random.choice(suits)) if random.random() < 0.85 else int(random.integers(out))
            rows.append((f"u{user}", f"i{item:05}", "view", None, int((18_000 + 100 * moment) * DAY)))
    names = ("user_id", "item_id", "event", "value", "timestamp")
    kinds = (pa.string(), pa.string(), pa.string(), pa.float64(), pa.int64())
    columns = zip(*rows, strict=True)
    arrays = [pa.array(column, kind) for column, kind in zip(columns, kinds, strict=True)]
    return World(items, pa.table(arrays, names=list(names)))


def cold(report: Report) -> SliceFigures:
    """Figures on items with fewer than five events in training."""
    return next(part for part in report.slices if part.name.startswith("cold items"))


def measure(options: argparse.Namespace) -> dict[str, dict[str, object]]:
    """Figures of ``content`` without pictures, with them, and with those of other items."""
    with tempfile.TemporaryDirectory() as scratch:
        home, folder = Path(scratch) / "home", Path(scratch) / "pictures"
        folder.mkdir()
        world = make(folder, options.items, options.users, options.events, options.seed)
        encoder = {"use": "picture", "params": {"folder": str(folder)}}
        config = parse_config(
            {"vectors": {"image": {"dimensions": 1280, "encoder": encoder}}, "train": {"seed": options.seed}},
            "benchmark",
        )
        registry = Registry.discover()
        resolved = registry.resolve(config)
        started = cpu_seconds()
        catalogue, _ = encode_catalogue(resolved, Catalogue.of(world.items), home)
        seconds = cpu_seconds() - started
    print(f"{len(world.items)} texts and pictures encoded in {seconds:.1f} s of CPU")
    space = catalogue.spaces["image"]
    dealt = space[np.random.default_rng(options.seed).permutation(len(space))]
    spaces = {"without pictures": {}, "with pictures": {"image": space}, "others' pictures": {"image": dealt}}
    content = next(one for one in resolved.scenarios["home"].retrievers if one.name == "content")
    figures: dict[str, dict[str, object]] = {}
    first: Report | None = None
    for name, named in spaces.items():
        data = Dataset.from_tables(catalogue.with_spaces(named), world.events, config.event_types)
        split = temporal(data, config.train.test_window)
        started = cpu_seconds()
        model, facts = fit_component(content, split.training, fit_context(config))
        fit_seconds = cpu_seconds() - started
        report = evaluate(
            RetrieverRecommender(model), split, (10,), name=name, seed=options.seed, detailed=True
        )
        figures[name] = {
            "weight": facts.get("spaces", {}).get("image"),
            "all items": figure(report.metrics[METRIC]),
            "cold items": figure(cold(report).metrics[METRIC]),
            "fit, s of CPU": round(fit_seconds, 2),
        }
        if first is None:
            first = report
        else:
            mine, theirs = (cold(one).per_user[METRIC] for one in (report, first))
            asked = ~np.isnan(mine)
            figures[name]["cold items, gain"] = figure(paired_difference(mine[asked], theirs[asked]))
            figures[name]["gain"] = figure(paired_difference(report.per_user[METRIC], first.per_user[METRIC]))
    return figures


def figure(interval: object) -> list[float]:
    """Mean and the ends of an interval."""
    return [round(float(getattr(interval, name)), 4) for name in ("mean", "low", "high")]


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--items", type=int, default=600)
    parser.add_argument("--users", type=int, default=300)
    parser.add_argument("--events", type=int, default=20, help="Of a user.")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="Write the figures here.")
    options = parser.parse_args()
    figures = measure(options)
    keys = list(dict.fromkeys(key for row in figures.values() for key in row))
    table = Table("content", *keys)
    for name, row in figures.items():
        table.add_row(name, *(str(row.get(key, "")) for key in keys))
    Console(width=180).print(table)
    if options.json is not None:
        write_json(options.json, figures)


if __name__ == "__main__":
    main()
