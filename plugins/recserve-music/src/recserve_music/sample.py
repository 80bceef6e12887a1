"""Made-up music and listeners, drawn with a fixed seed and written in the formats that the plugin reads.

A listener likes a few styles, has some tracks in rotation that come back after days, tries others of the same
styles now and then, and skips what does not please. Every name is invented.

    python -m recserve_music.sample FOLDER
"""

from __future__ import annotations

import random
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from recserve_music.formats import ARTISTS, PLAYS, TAGGED, TAGS, TRACKS, USER_ARTISTS

LISTENERS = 150
FIRST_SECONDS = 1_772_323_200
"""The first of March 2026."""
_DAYS = 60
_DAY = 86_400
_SEED = 20_260_302

_STYLES = {
    "ambient": ("drone", "calm"),
    "bluegrass": ("banjo", "acoustic"),
    "chamber": ("strings", "classical"),
    "dub": ("bass", "reggae"),
    "folk": ("acoustic", "songwriter"),
    "garage rock": ("guitar", "loud"),
    "house": ("dance", "electronic"),
    "jazz": ("saxophone", "swing"),
    "metal": ("guitar", "heavy"),
    "soul": ("vocal", "groove"),
    "synth pop": ("electronic", "eighties"),
    "techno": ("dance", "minimal"),
}
_FIRST = ("Amber", "Broken", "Copper", "Distant", "Electric", "Frozen", "Golden", "Hollow", "Iron", "Jade")
_SECOND = ("Anchors", "Bridges", "Comets", "Deserts", "Engines", "Foxes", "Gardens", "Harbours", "Islands")
_VERBS = ("Leaving", "Counting", "Building", "Crossing", "Dreaming", "Following", "Holding", "Losing")
_THINGS = ("Stars", "Rivers", "Towers", "Letters", "Shadows", "Windows", "Trains", "Mirrors", "Seasons")
_ARTISTS_A_STYLE = 5
_TRACKS_AN_ARTIST = 5


@dataclass(frozen=True, slots=True)
class Track:
    """One track of the made-up catalogue."""

    track_id: str
    title: str
    artist: str
    style: str
    seconds: int


@dataclass(frozen=True, slots=True)
class Play:
    """One time that somebody began to play a track; times in seconds since the epoch."""

    user_id: str
    track_id: str
    timestamp: int
    seconds: int


def make_tracks() -> list[Track]:
    """The catalogue, the same each time."""
    chance = random.Random(_SEED)
    names = [f"{first} {second}" for first in _FIRST for second in _SECOND]
    titles = [f"{verb} {thing}" for verb in _VERBS for thing in _THINGS]
    artists = iter(chance.sample(names, len(_STYLES) * _ARTISTS_A_STYLE))
    tracks: list[Track] = []
    for style in _STYLES:
        for _ in range(_ARTISTS_A_STYLE):
            artist = next(artists)
            for title in chance.sample(titles, _TRACKS_AN_ARTIST):
                number = f"t{len(tracks) + 1:03}"
                tracks.append(Track(number, title, artist, style, chance.randint(120, 420)))
    return tracks


def make_plays(tracks: Sequence[Track]) -> list[Play]:
    """What all listeners played, in the order of time."""
    chance = random.Random(_SEED + 1)
    by_style: dict[str, list[Track]] = {}
    for track in tracks:
        by_style.setdefault(track.style, []).append(track)
    plays = [
        play
        for number in range(1, LISTENERS + 1)
        for play in _listener_plays(f"u{number:03}", by_style, chance)
    ]
    return sorted(plays, key=lambda play: (play.timestamp, play.user_id, play.track_id))


def _listener_plays(user_id: str, by_style: dict[str, list[Track]], chance: random.Random) -> list[Play]:
    liked = chance.sample(sorted(by_style), 3)
    known = [track for style in liked for track in by_style[style]]
    plays = []
    for track in chance.sample(known, chance.randint(4, 7)):
        # In rotation: it comes back after some days, and some day no more.
        moment = chance.uniform(0, _DAYS * 0.7)
        interval = chance.uniform(2, 9)
        for _ in range(chance.randint(3, 9)):
            if moment < _DAYS:
                plays.append(_play(user_id, track, moment, chance, skipped=0.03))
            moment += interval * chance.uniform(0.7, 1.4)
    for _ in range(chance.randint(12, 24)):
        # Something else, mostly of the same styles.
        close = chance.random() < 0.8
        track = chance.choice(known if close else by_style[chance.choice(sorted(by_style))])
        plays.append(_play(user_id, track, chance.uniform(0, _DAYS), chance, skipped=0.15 if close else 0.6))
    return plays


def _play(user_id: str, track: Track, day: float, chance: random.Random, skipped: float) -> Play:
    share = chance.uniform(0.02, 0.3) if chance.random() < skipped else chance.uniform(0.8, 1.0)
    return Play(user_id, track.track_id, FIRST_SECONDS + int(day * _DAY), int(track.seconds * share))


def write_sample(folder: Path) -> None:
    """Write ``tracks.csv`` and ``plays.csv`` into a folder."""
    tracks = make_tracks()
    TRACKS.write(
        folder,
        (
            (track.track_id, track.title, track.artist, track.seconds, "|".join(_tags_of(track)))
            for track in tracks
        ),
    )
    PLAYS.write(
        folder,
        ((play.user_id, play.track_id, play.timestamp, play.seconds) for play in make_plays(tracks)),
    )


def write_hetrec(folder: Path) -> None:
    """Write the same audience as HetRec 2011 has it: counts of artists, and tags that users gave them."""
    tracks = make_tracks()
    artists = {name: number for number, name in enumerate(sorted({t.artist for t in tracks}), start=1)}
    names = sorted({tag for track in tracks for tag in _tags_of(track)})
    tags = {tag: number for number, tag in enumerate(names, start=1)}
    by_id = {track.track_id: track for track in tracks}
    counts = Counter(
        (int(play.user_id[1:]), artists[by_id[play.track_id].artist]) for play in make_plays(tracks)
    )
    of_artist = {artists[track.artist]: _tags_of(track) for track in tracks}
    ARTISTS.write(folder, ((number, name) for name, number in artists.items()))
    USER_ARTISTS.write(folder, ((user, artist, count) for (user, artist), count in sorted(counts.items())))
    TAGS.write(folder, ((number, tag) for tag, number in tags.items()))
    TAGGED.write(
        folder,
        (
            (user, artist, tags[tag])
            for (user, artist), count in sorted(counts.items())
            if count > 3
            for tag in of_artist[artist]
        ),
    )


def _tags_of(track: Track) -> tuple[str, ...]:
    return (track.style, *_STYLES[track.style])


def main() -> None:
    """Write all files of both formats into the folder that the command line names."""
    if len(sys.argv) != 2:
        sys.exit("usage: python -m recserve_music.sample FOLDER")
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    write_sample(folder)
    write_hetrec(folder)


if __name__ == "__main__":
    main()
