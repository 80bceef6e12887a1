"""Made-up short videos and viewers, drawn with a fixed seed and written in the formats that the plugin reads.

A viewer has two favourite themes and a favourite creator or two; what fits is watched to its end and liked
now and then, the rest is left early. Videos are watched mostly in the days after their upload. Every name is
invented.

    python -m recserve_video.sample FOLDER
"""

from __future__ import annotations

import random
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from recserve import DelimitedFile
from recserve_video.formats import BIG_MATRIX, CAPTIONS, FEATURES, PAIRS, TITLES, VIDEOS, WATCHES

VIEWERS = 150
FIRST_SECONDS = 1_772_323_200
"""The first of March 2026."""
_DAYS = 30
_DAY = 86_400
_VIDEOS = 300
_CREATORS = 50
_SEED = 20_260_304

THEMES = {
    "animals": (
        "a cat and a printer",
        "the shy owl",
        "ducks crossing",
        "a hedgehog's breakfast",
        "herding sheep",
    ),
    "cooking": (
        "noodles in five minutes",
        "grandma's dumplings",
        "eggs",
        "street pancakes",
        "plum jam",
    ),
    "crafts": ("paper boats", "a matchbox clock", "a knitted fox", "soap carving", "mending jeans"),
    "dance": (
        "a rooftop routine",
        "steps for beginners",
        "tap in the kitchen",
        "a slow waltz",
        "the bus stop dance",
    ),
    "games": ("a pocket chess trick", "speedrun fails", "card towers", "an old arcade", "marble runs"),
    "nature": ("fog over the lake", "a beetle's day", "thunder at night", "moss up close", "low tide"),
    "science": ("magnets in honey", "a candle puzzle", "why ice floats", "static hair", "a paper bridge"),
    "travel": ("a night train", "the smallest island", "market morning", "a mountain hut", "ferry views"),
}
_STYLES = (
    "{}",
    "{}, part two",
    "{} in slow motion",
    "{} (with sound)",
    "behind the scenes: {}",
    "{} gone wrong",
    "{}, explained",
    "everyone loves {}",
)
_FIRST = ("Blue", "Tiny", "Daily", "Quiet", "Lucky", "Wild", "Sunday", "Pocket", "Paper", "Salty")
_LAST = ("Lantern", "Otter", "Studio", "Kitchen", "Window", "Compass", "Radio")


@dataclass(frozen=True, slots=True)
class Video:
    """One video; upload in seconds since the epoch, length in seconds."""

    video_id: str
    title: str
    creator: str
    theme: str
    seconds: int
    uploaded_at: int


@dataclass(frozen=True, slots=True)
class Watch:
    """One time that somebody watched a video; times in seconds."""

    user_id: str
    video_id: str
    timestamp: int
    seconds: float
    liked: int


def make_videos() -> list[Video]:
    """The catalogue in the order of uploads, the same each time."""
    chance = random.Random(_SEED)
    creators = chance.sample([f"{first} {last}" for first in _FIRST for last in _LAST], _CREATORS)
    themes = list(THEMES)
    titles = {
        theme: [style.format(thing) for style in _STYLES for thing in things]
        for theme, things in THEMES.items()
    }
    for texts in titles.values():
        chance.shuffle(texts)
    uploads = sorted(chance.randint(0, _DAYS * _DAY) for _ in range(_VIDEOS))
    videos = []
    for number, moment in enumerate(uploads, start=1):
        place = chance.randrange(_CREATORS)
        theme = themes[place % len(themes)]
        if not titles[theme]:
            theme = max(titles, key=lambda name: len(titles[name]))
        title = titles[theme].pop()
        videos.append(
            Video(
                f"v{number:03}",
                title[0].upper() + title[1:],
                creators[place],
                theme,
                chance.randint(8, 90),
                FIRST_SECONDS + moment,
            )
        )
    return videos


def make_watches(videos: Sequence[Video]) -> list[Watch]:
    """What all viewers watched, in the order of time."""
    chance = random.Random(_SEED + 1)
    watches = []
    for number in range(1, VIEWERS + 1):
        favourites = chance.sample(list(THEMES), 2)
        idols = {video.creator for video in chance.sample(videos, 2)}
        for video in videos:
            fits = video.theme in favourites or video.creator in idols
            if chance.random() > (0.35 if fits else 0.06):
                continue
            ratio = chance.uniform(0.7, 1.6) if fits and chance.random() < 0.9 else chance.uniform(0.01, 0.5)
            moment = video.uploaded_at + int(chance.expovariate(1 / (3 * _DAY)))
            liked = int(ratio > 0.9 and chance.random() < 0.25)
            seconds = round(video.seconds * ratio, 1)
            watches.append(Watch(f"u{number:03}", video.video_id, moment, seconds, liked))
    return sorted(watches, key=lambda watch: (watch.timestamp, watch.user_id, watch.video_id))


def write_sample(folder: Path) -> None:
    """Write ``videos.csv`` and ``watches.csv`` into a folder."""
    videos = make_videos()
    VIDEOS.write(
        folder,
        ((one.video_id, one.title, one.creator, one.seconds, one.uploaded_at, one.theme) for one in videos),
    )
    WATCHES.write(
        folder,
        ((one.user_id, one.video_id, one.timestamp, one.seconds, one.liked) for one in make_watches(videos)),
    )


def write_kuairec(folder: Path) -> None:
    """Write the same viewers as KuaiRec has them."""
    videos = make_videos()
    seconds = {video.video_id: video.seconds for video in videos}
    BIG_MATRIX.write(
        folder,
        (
            (watch.user_id[1:], watch.video_id[1:], watch.timestamp, watch.seconds / seconds[watch.video_id])
            for watch in make_watches(videos)
        ),
    )
    CAPTIONS.write(
        folder, ((one.video_id[1:], one.title, f"[{one.theme},short]", one.theme) for one in videos)
    )
    FEATURES.write(
        folder,
        (
            (one.video_id[1:], one.creator, datetime.fromtimestamp(one.uploaded_at, UTC).date().isoformat())
            for one in videos
        ),
    )


def write_microlens(folder: Path) -> None:
    """Write what they watched longer than a moment as MicroLens has it, with times in milliseconds."""
    videos = make_videos()
    seconds = {video.video_id: video.seconds for video in videos}
    _named(PAIRS).write(
        folder,
        (
            (watch.user_id[1:], watch.video_id[1:], watch.timestamp * 1000)
            for watch in make_watches(videos)
            if watch.seconds > seconds[watch.video_id] / 2
        ),
    )
    _named(TITLES).write(folder, ((one.video_id[1:], one.title) for one in videos))


def _named(file: DelimitedFile) -> DelimitedFile:
    return replace(file, name=file.name.replace("*", "MicroLens-sample"))


def main() -> None:
    """Write the files of all formats into the folder that the command line names."""
    if len(sys.argv) != 2:
        sys.exit("usage: python -m recserve_video.sample FOLDER")
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for write in (write_sample, write_kuairec, write_microlens):
        write(folder)


if __name__ == "__main__":
    main()
