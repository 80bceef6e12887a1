"""A made-up network, drawn with a fixed seed and written in the format that the plugin reads.

A reader has two topics, follows authors of those and a few others, and reacts within days to posts, mostly of
authors that he follows or whom those around him follow. Every name and text is invented.

    python -m recserve_social.sample FOLDER
"""

from __future__ import annotations

import random
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from recserve_social.formats import AUTHORS, FOLLOWS, POSTS, REACTIONS

READERS = 150
WRITERS = 60
FIRST_SECONDS = 1_772_323_200
"""The first of March 2026."""
_DAYS = 30
_DAY = 86_400
_POSTS = 300
_SEED = 20_260_303

TOPICS = {
    "astronomy": ("the new comet", "a cheap telescope", "tonight's eclipse", "star maps", "the moon"),
    "baking": ("sourdough", "rye bread", "a lemon tart", "croissants", "a wood-fired oven"),
    "cycling": ("a gravel bike", "the coast road", "tubeless tyres", "commuting in the rain", "an old frame"),
    "gardening": ("tomatoes", "a compost heap", "bare-root roses", "raised beds", "early potatoes"),
    "hiking": ("the ridge trail", "trail shoes", "a two-day hut tour", "paper maps", "winter camping"),
    "photography": ("film cameras", "night exposures", "a prime lens", "street portraits", "darkroom prints"),
    "programming": ("type hints", "a tiny compiler", "code review", "flaky tests", "reading old code"),
    "woodwork": ("dovetail joints", "a hand plane", "a walnut bench", "green wood", "oil finishes"),
}
_OPENINGS = (
    "Three things I learnt about {}",
    "Why I changed my mind about {}",
    "A beginner's notes on {}",
    "What nobody tells you about {}",
    "My weekend with {}",
    "Is it worth the time? {}, a year later",
    "Photos and notes: {}",
    "Ask me anything about {}",
    "The mistake everybody makes with {}",
    "Looking for company: {}",
    "Small progress with {}",
    "In praise of {}",
)
_FIRST = ("Mira", "Jonas", "Aiko", "Samuel", "Lena", "Tariq", "Ines", "Pavel", "Noor", "Felix", "Ola")
_LAST = ("Okafor", "Lindqvist", "Moreau", "Tanaka", "Brandt", "Haddad", "Silva", "Novak", "Fraser", "Mbeki")


@dataclass(frozen=True, slots=True)
class Post:
    """One post; its time in seconds since the epoch."""

    post_id: str
    author_id: str
    text: str
    posted_at: int
    topic: str


@dataclass(frozen=True, slots=True)
class Network:
    """Everything that happened, each list in the order of time.

    Attributes:
        names: Name of each author.
        posts: Posts.
        follows: Follower, author, seconds, ``follow`` or ``unfollow``.
        reactions: Reader, post, type, seconds.
    """

    names: dict[str, str]
    posts: list[Post]
    follows: list[tuple[str, str, int, str]]
    reactions: list[tuple[str, str, str, int]]


def make_network() -> Network:
    """The network, the same each time."""
    chance = random.Random(_SEED)
    people = [f"u{number:03}" for number in range(1, READERS + 1)]
    authors = sorted(chance.sample(people, WRITERS))
    names = chance.sample([f"{first} {last}" for first in _FIRST for last in _LAST], WRITERS)
    topics = list(TOPICS)
    topic_of = {author: topics[place % len(topics)] for place, author in enumerate(authors)}
    posts = _posts(authors, topic_of, chance)
    follows: list[tuple[str, str, int, str]] = []
    reactions: list[tuple[str, str, str, int]] = []
    for person in people:
        liked = chance.sample(topics, 2)
        mine = _follows(person, authors, topic_of, liked, chance)
        follows += mine
        followed = {author for _, author, _, action in mine if action == "follow"}
        reactions += _reactions(person, posts, followed, liked, chance)
    return Network(
        dict(zip(authors, names, strict=True)),
        posts,
        sorted(follows, key=lambda row: (row[2], row)),
        sorted(reactions, key=lambda row: (row[3], row)),
    )


def _posts(authors: Sequence[str], topic_of: dict[str, str], chance: random.Random) -> list[Post]:
    drawn = []
    for _ in range(_POSTS):
        author = chance.choice(authors)
        topic = topic_of[author] if chance.random() < 0.9 else chance.choice(list(TOPICS))
        drawn.append((chance.randint(0, _DAYS * _DAY), author, topic))
    # No text twice.
    unsaid = {
        topic: [opening.format(thing) for opening in _OPENINGS for thing in things]
        for topic, things in TOPICS.items()
    }
    for texts in unsaid.values():
        chance.shuffle(texts)
    return [
        Post(f"p{number:03}", author, unsaid[topic].pop(), FIRST_SECONDS + moment, topic)
        for number, (moment, author, topic) in enumerate(sorted(drawn), start=1)
    ]


def _follows(
    person: str, authors: Sequence[str], topic_of: dict[str, str], liked: Sequence[str], chance: random.Random
) -> list[tuple[str, str, int, str]]:
    near = [author for author in authors if topic_of[author] in liked and author != person]
    others = [author for author in authors if topic_of[author] not in liked and author != person]
    chosen = [*chance.sample(near, min(len(near), chance.randint(5, 9))), *chance.sample(others, 2)]
    rows = []
    for author in chosen:
        # Most follow early, some lately.
        moment = FIRST_SECONDS + int(chance.random() ** 2 * _DAYS * _DAY)
        rows.append((person, author, moment, "follow"))
        if author in others and chance.random() < 0.3:
            rows.append((person, author, moment + chance.randint(1, 5) * _DAY, "unfollow"))
    return rows


def _reactions(
    person: str, posts: Sequence[Post], followed: set[str], liked: Sequence[str], chance: random.Random
) -> list[tuple[str, str, str, int]]:
    rows = []
    for post in posts:
        likely = 0.4 if post.author_id in followed else 0.25 if post.topic in liked else 0.015
        if post.author_id == person or chance.random() > likely:
            continue
        moment = post.posted_at + int(chance.expovariate(1 / _DAY))
        rows.append((person, post.post_id, "click", moment))
        draw = chance.random()
        if post.topic not in liked:
            draw = 1 - draw / 3
        for kind, bound in (("repost", 0.06), ("reply", 0.16), ("like", 0.5)):
            if draw < bound:
                rows.append((person, post.post_id, kind, moment + 60))
                break
        if draw > 0.97:
            rows.append((person, post.post_id, "hide", moment + 30))
    return rows


def write_sample(folder: Path) -> None:
    """Write the files of the network into a folder."""
    network = make_network()
    POSTS.write(
        folder,
        ((post.post_id, post.author_id, post.text, post.posted_at, post.topic) for post in network.posts),
    )
    FOLLOWS.write(folder, network.follows)
    REACTIONS.write(folder, network.reactions)
    AUTHORS.write(folder, network.names.items())


def main() -> None:
    """Write the files into the folder that the command line names."""
    if len(sys.argv) != 2:
        sys.exit("usage: python -m recserve_social.sample FOLDER")
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    write_sample(folder)


if __name__ == "__main__":
    main()
