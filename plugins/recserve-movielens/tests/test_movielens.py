from __future__ import annotations

import functools
import hashlib
import io
import json
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from http.server import HTTPServer, SimpleHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from recserve import Catalogue, DataError, Dataset, InvalidRequestError, Item, Reason, Tables
from recserve.config import ComponentConfig, Config
from recserve.plugin.protocols import DataSource, Explainer, Filter, ItemText, Stage
from recserve.plugin.registry import Registry
from recserve.store import Counts, open_store
from recserve.store.ingest import import_tables


@pytest.fixture(scope="module")
def registry() -> Registry:
    return Registry.discover(only=["movielens"])


def build(
    registry: Registry, stage: Stage, name: str, catalogue: Catalogue | None = None, **params: object
) -> Any:
    chosen = registry.choose(stage, ComponentConfig(use=name, params=params), "test")
    return chosen.build(catalogue or Catalogue())


def films(tables: Tables) -> dict[str, dict[str, Any]]:
    return {one["item_id"]: json.loads(one["attributes"]) for one in tables.items.to_pylist()}


# -- registration -------------------------------------------------------------------------------


def test_components_come_through_the_entry_point(registry: Registry) -> None:
    assert [plugin.error for plugin in registry.plugins] == [None]
    assert registry.names(Stage.DATASET) == ["movielens", "movielens-small"]
    assert registry.names(Stage.ITEM_TEXT) == ["movielens"]
    assert registry.names(Stage.FILTER) == ["genre"]
    assert registry.names(Stage.EXPLAINER) == ["movielens"]
    catalogue = Catalogue()
    assert isinstance(build(registry, Stage.DATASET, "movielens-small"), DataSource)
    assert isinstance(build(registry, Stage.ITEM_TEXT, "movielens"), ItemText)
    assert isinstance(build(registry, Stage.FILTER, "genre", catalogue), Filter)
    assert isinstance(build(registry, Stage.EXPLAINER, "movielens"), Explainer)


def test_importing_the_plugin_is_light() -> None:
    code = "import sys, recserve_movielens; print([m for m in ('torch', 'numba', 'ray') if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


# -- the bundled sample -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def small(registry: Registry) -> Tables:
    tables: Tables = build(registry, Stage.DATASET, "movielens-small").read()
    return tables


def test_the_sample_is_complete(small: Tables) -> None:
    assert (len(small.items), len(small.events)) == (9_066, 100_004)
    known = films(small)
    assert known["1"] == {
        "title": "Toy Story",
        "year": 1995,
        "genres": ["Adventure", "Animation", "Children", "Comedy", "Fantasy"],
    }
    assert known["108548"] == {"genres": ["Comedy"]}
    assert known["143410"] == {"genres": []}
    assert sum("title" not in film for film in known.values()) == 5
    assert not any("(no genres listed)" in film["genres"] for film in known.values())


def test_the_sample_makes_a_dataset_and_imports_once(small: Tables, tmp_path: Path) -> None:
    config = Config()
    catalogue = Catalogue(small.items["item_id"].to_pylist(), small.items["attributes"].to_pylist())
    data = Dataset.from_tables(catalogue, small.events, config.event_types)
    assert (len(data), data.n_users, data.n_items) == (100_004, 671, 9_066)
    assert (data.weights > 0).all()
    with open_store(None, tmp_path) as store:
        few = Tables(small.items.slice(0, 100), small.events.slice(0, 1000))
        assert import_tables(store, few).new_events == 1000
        assert import_tables(store, few).new_events == 0
        assert store.counts() == Counts(len(set(few.events["user_id"].to_pylist())), 100, 1000)


def test_licence_lies_beside_the_data() -> None:
    import recserve_movielens

    folder = Path(recserve_movielens.__file__).parent / "data" / "movielens-small"
    text = " ".join((folder / "LICENSE.txt").read_text().split())
    for part in ("endorsement", "10.1145/2827872", "commercial", "as is", "same licence conditions"):
        assert part in text


def test_suggested_configuration_is_valid(registry: Registry) -> None:
    for source in (
        build(registry, Stage.DATASET, "movielens-small"),
        build(registry, Stage.DATASET, "movielens", path="x"),
    ):
        config = Config.model_validate(source.suggested_config())
        home = config.scenarios["home"]
        assert [one.use for one in home.retrievers] == ["mf", "item_knn", "content", "popular"]
        assert home.ranker is not None
        assert home.ranker.use == "bert_lstm"
        assert config.item_text.use == home.explainer.use == "movielens"
        assert [one.use for one in home.filters] == ["genre"]
        assert list(config.scenarios) == ["home", "similar", "session", "search"]
        assert Registry.discover().resolve(config).scenarios["search"].ranker is None


# -- official formats ---------------------------------------------------------------------------

RELEASES: dict[str, dict[str, bytes]] = {
    "latest": {
        "ratings.csv": b"userId,movieId,rating,timestamp\n1,1,4.0,964982703\n1,2,0.5,964981247\n2,1,5.0,5\n",
        "movies.csv": "movieId,title,genres\n"
        "1,Toy Story (1995),Adventure|Animation\n"
        '2,"Amélie (Fabuleux destin d\'Amélie, Le) (2001)",Comedy|Romance\n'
        "3,Nowhere,(no genres listed)\n".encode(),
        "links.csv": b"movieId,imdbId\n1,1\n",
    },
    "ml-1m": {
        "ratings.dat": b"1::1::4::964982703\n1::2::0.5::964981247\n2::1::5::5\n",
        "movies.dat": "1::Toy Story (1995)::Adventure|Animation\n"
        "2::Amélie (Fabuleux destin d'Amélie, Le) (2001)::Comedy|Romance\n"
        "3::Nowhere::(no genres listed)\n".encode("latin-1"),
    },
    "ml-10m": {
        "ratings.dat": b"1::1::4::964982703\n1::2::0.5::964981247\n2::1::5::5\n",
        "movies.dat": "1::Toy Story (1995)::Adventure|Animation\n"
        "2::Amélie (Fabuleux destin d'Amélie, Le) (2001)::Comedy|Romance\n"
        "3::Nowhere::(no genres listed)\n".encode(),
    },
    "ml-100k": {
        "u.data": b"1\t1\t4\t964982703\n1\t2\t0.5\t964981247\n2\t1\t5\t5\n",
        "u.item": "1|Toy Story (1995)|01-Jan-1995||http://x|0|0|1|1|0|0|0|0|0|0|0|0|0|0|0|0|0|0|0\n"
        "2|Amélie (Fabuleux destin d'Amélie, Le) (2001)|||http://x"
        "|0|0|0|0|0|1|0|0|0|0|0|0|0|0|1|0|0|0|0\n"
        "3|Nowhere||||1|0|0|0|0|0|0|0|0|0|0|0|0|0|0|0|0|0|0\n".encode("latin-1"),
    },
}


def write_release(folder: Path, name: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for file, content in RELEASES[name].items():
        (folder / file).write_bytes(content)
    return folder


def check_release(tables: Tables) -> None:
    assert films(tables) == {
        "1": {"title": "Toy Story", "year": 1995, "genres": ["Adventure", "Animation"]},
        "2": {
            "title": "Amélie (Fabuleux destin d'Amélie, Le)",
            "year": 2001,
            "genres": ["Comedy", "Romance"],
        },
        "3": {"title": "Nowhere", "genres": []},
    }
    assert tables.events.drop_columns("event_id").to_pylist() == [
        {"user_id": user, "item_id": item, "event": "rating", "value": value, "timestamp": time}
        for user, item, value, time in [
            ("1", "1", 4.0, 964_982_703_000),
            ("1", "2", 0.5, 964_981_247_000),
            ("2", "1", 5.0, 5_000),
        ]
    ]
    assert len(set(tables.events["event_id"].to_pylist())) == 3


@pytest.mark.parametrize("name", RELEASES)
def test_every_official_format_reads_the_same(registry: Registry, tmp_path: Path, name: str) -> None:
    write_release(tmp_path / "outer" / name, name)
    for path in (tmp_path / "outer" / name, tmp_path / "outer"):
        check_release(build(registry, Stage.DATASET, "movielens", path=str(path)).read())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Toy Story (1995)", ("Toy Story", 1995)),
        ("Death Note (2006–2007)", ("Death Note", 2006)),
        ("Fawlty Towers (1975-1979) ", ("Fawlty Towers", 1975)),
        ("Babylon 5", ("Babylon 5", None)),
        ("2001: A Space Odyssey (1968)", ("2001: A Space Odyssey", 1968)),
        ("Seven (a.k.a. Se7en) (1995)", ("Seven (a.k.a. Se7en)", 1995)),
        ("(500) Days of Summer (2009)", ("(500) Days of Summer", 2009)),
        ("1984", ("1984", None)),
        ("(1994)", ("", 1994)),
        ("", ("", None)),
    ],
)
def test_titles_and_years(text: str, expected: tuple[str, int | None]) -> None:
    from recserve_movielens.formats import split_title

    assert split_title(text) == expected


@pytest.mark.parametrize(
    ("stored", "said"),
    [
        ("Dark Knight, The", "The Dark Knight"),
        ("Beautiful Mind, A", "A Beautiful Mind"),
        ("Postman, The (Postino, Il)", "The Postman (Postino, Il)"),
        ("Girl, Interrupted", "Girl, Interrupted"),
        ("Good, the Bad and the Ugly, The", "The Good, the Bad and the Ugly"),
        ("Theory, The Big", "Theory, The Big"),
        ("", ""),
    ],
)
def test_titles_are_as_people_say_them(stored: str, said: str) -> None:
    from recserve_movielens.formats import natural_title

    assert natural_title(stored) == said


@pytest.mark.parametrize(
    ("release", "file", "content"),
    [
        ("latest", "ratings.csv", b"userId,movieId,rating,timestamp\n1,1,4.0\n"),
        ("latest", "ratings.csv", b"userId,movieId,rating,timestamp\n"),
        ("latest", "ratings.csv", b""),
        ("latest", "ratings.csv", b"userId,movieId,rating,timestamp\n1,1,good,5\n"),
        ("latest", "ratings.csv", b"userId,movieId,rating,timestamp\n1,,4.0,5\n"),
        ("latest", "movies.csv", b"id,name\n1,Toy Story\n"),
        ("ml-1m", "movies.dat", b"1::Toy Story"),
        ("ml-100k", "u.item", b"1|Toy Story (1995)|||http://x|0|1\n"),
        ("ml-100k", "u.data", bytes(range(256))),
    ],
)
def test_damaged_files_are_named(
    registry: Registry, tmp_path: Path, release: str, file: str, content: bytes
) -> None:
    write_release(tmp_path, release)
    (tmp_path / file).write_bytes(content)
    with pytest.raises(DataError) as failure:
        build(registry, Stage.DATASET, "movielens", path=str(tmp_path)).read()
    assert file in failure.value.message
    assert "\n" not in failure.value.message


def test_folders_without_a_release(registry: Registry, tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(DataError, match="no MovieLens release"):
            build(registry, Stage.DATASET, "movielens", path=str(path)).read()


def test_parameters_must_name_one_origin() -> None:
    from recserve_movielens.parameters import MovieLensParams

    good = {"url": "https://host/ml.zip", "sha256": "a" * 64}
    MovieLensParams.model_validate(good)
    for bad in (
        {},
        {"path": "x", **good},
        {"url": good["url"]},
        {"sha256": good["sha256"]},
        {**good, "url": "file:///etc/passwd"},
        {**good, "sha256": "abc"},
        {"path": "x", "more": 1},
    ):
        with pytest.raises(ValidationError):
            MovieLensParams.model_validate(bad)


# -- downloading --------------------------------------------------------------------------------


class Site:
    """A web server of this test that counts its requests."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.requests: list[str] = []
        site = self

        class Handler(SimpleHTTPRequestHandler):
            def log_message(self, format: str, *args: object) -> None:
                site.requests.append(self.path)

        self._server = HTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=str(folder)))
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    def publish(self, members: list[tuple[str, bytes]]) -> tuple[str, str]:
        """URL and checksum of a zip file of these members."""
        data = io.BytesIO()
        with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in members:
                archive.writestr(name, content)
        return self.publish_bytes(data.getvalue())

    def publish_bytes(self, data: bytes) -> tuple[str, str]:
        (self.folder / "ml.zip").write_bytes(data)
        return f"{self.url}/ml.zip", hashlib.sha256(data).hexdigest()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    folder = tmp_path / "site"
    folder.mkdir()
    one = Site(folder)
    yield one
    one.close()


def release_members(prefix: str = "ml-latest/") -> list[tuple[str, bytes]]:
    return [(prefix + name, content) for name, content in RELEASES["latest"].items()]


def test_a_download_is_verified_read_and_kept(registry: Registry, site: Site, tmp_path: Path) -> None:
    url, sha256 = site.publish(release_members())
    params = {"url": url, "sha256": sha256, "cache": str(tmp_path / "cache")}
    check_release(build(registry, Stage.DATASET, "movielens", **params).read())
    check_release(build(registry, Stage.DATASET, "movielens", **params).read())
    assert site.requests == ["/ml.zip"]
    assert [one.name for one in (tmp_path / "cache").iterdir()] == [sha256]


def test_the_cache_is_where_the_user_keeps_caches(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from recserve_movielens.download import fetch

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    url, sha256 = site.publish(release_members())
    assert fetch(url, sha256) == tmp_path / "xdg" / "recserve" / "movielens" / sha256


def test_a_wrong_checksum_is_refused_and_nothing_is_kept(site: Site, tmp_path: Path) -> None:
    from recserve_movielens.download import fetch

    url, _ = site.publish(release_members())
    with pytest.raises(DataError, match="has the sha256"):
        fetch(url, "0" * 64, tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_downloads_that_fail(site: Site, tmp_path: Path) -> None:
    from recserve_movielens.download import fetch

    url, sha256 = site.publish_bytes(b"this is no zip file")
    readme = site.publish([("readme.txt", b"hello")])
    for address, checksum, message in [
        (f"{site.url}/missing.zip", "0" * 64, "cannot download .*404"),
        ("http://127.0.0.1:1/ml.zip", "0" * 64, "cannot download .*refused"),
        (*readme, "holds no MovieLens release"),
    ]:
        with pytest.raises(DataError, match=message) as failure:
            fetch(address, checksum, tmp_path / "cache")
        assert "\n" not in failure.value.message
    site.publish_bytes(b"this is no zip file")
    with pytest.raises(DataError, match="not a zip file"):
        fetch(url, sha256, tmp_path / "cache")


def test_an_archive_cannot_write_outside_its_folder(site: Site, tmp_path: Path) -> None:
    from recserve_movielens.download import fetch

    outside = [
        ("../../escaped.csv", b"evil"),
        ("/tmp/absolute-escape-of-this-test/movies.csv", b""),
        ("../../../evil/ratings.csv", RELEASES["latest"]["ratings.csv"]),
        ("..\\..\\windows.csv", b"evil"),
    ]
    url, sha256 = site.publish(outside)
    folder = fetch(url, sha256, tmp_path / "cache" / "deep")
    assert sorted(one.name for one in folder.iterdir()) == ["movies.csv", "ratings.csv"]
    inside = {one for one in tmp_path.rglob("*") if one.is_file() and "site" not in one.parts}
    assert inside == set(folder.iterdir())
    assert not Path("/tmp/absolute-escape-of-this-test").exists()


def test_an_archive_with_two_releases_is_refused(site: Site, tmp_path: Path) -> None:
    from recserve_movielens.download import fetch

    url, sha256 = site.publish(release_members("a/") + release_members("b/"))
    with pytest.raises(DataError, match="twice"):
        fetch(url, sha256, tmp_path / "cache")


# -- words --------------------------------------------------------------------------------------

TOY_STORY = Item("1", {"title": "Toy Story", "year": 1995, "genres": ["Adventure", "Animation", "Children"]})
JUMANJI = Item("2", {"title": "Jumanji", "year": 1995})


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        (TOY_STORY.attributes, "Toy Story (1995). Adventure, Animation, Children"),
        ({"title": "Toy Story", "genres": []}, "Toy Story"),
        ({"title": "Toy Story", "year": 1995}, "Toy Story (1995)"),
        ({"genres": ["Comedy"]}, "Comedy"),
        ({"year": 1995}, ""),
        ({}, ""),
    ],
)
def test_item_text(registry: Registry, attributes: dict[str, Any], expected: str) -> None:
    assert build(registry, Stage.ITEM_TEXT, "movielens").text(Item("1", attributes)) == expected


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        (Reason(JUMANJI, ("mf",), TOY_STORY, "rating"), "Because you rated Toy Story"),
        (Reason(JUMANJI, ("mf", "content"), TOY_STORY, "view"), "Because you watched Toy Story"),
        (Reason(JUMANJI, ("content",), TOY_STORY, "like"), "Similar to Toy Story, which you liked"),
        (Reason(JUMANJI, ("content",), TOY_STORY), "Similar to Toy Story"),
        (Reason(TOY_STORY, ("mf",), TOY_STORY, "view"), "You watched this before"),
        (Reason(TOY_STORY, ("mf",), Item("7"), "rating"), "Because you rated 7"),
        (Reason(TOY_STORY, ("popular",)), "Popular with viewers"),
        (Reason(TOY_STORY, ("mf",)), "Loved by viewers with your taste"),
        (Reason(TOY_STORY, ("somebody_elses",)), "Picked for you"),
        (Reason(TOY_STORY, ()), "Picked for you"),
        (
            Reason(TOY_STORY, ("content",), evidence_event="search", evidence_text="toys  that live"),
            "Because you searched for “toys that live”",
        ),
        (
            Reason(TOY_STORY, ("content",), evidence_event="rating", evidence_text="lovely"),
            "Because you wrote “lovely”",
        ),
        (Reason(TOY_STORY, ("content",), query_text=" toys\n that live "), "Found for “toys that live”"),
    ],
)
def test_explanations(registry: Registry, reason: Reason, expected: str) -> None:
    assert build(registry, Stage.EXPLAINER, "movielens").explain([reason]) == [expected]


def test_explanations_stay_short(registry: Registry) -> None:
    explainer = build(registry, Stage.EXPLAINER, "movielens")
    reasons = [
        Reason(TOY_STORY, (), query_text="x" * 10_000_000),
        Reason(TOY_STORY, (), Item("1", {"title": "y" * 9_000}), "view"),
    ]
    assert all(len(sentence) < 120 for sentence in explainer.explain(reasons))


# -- the filter ---------------------------------------------------------------------------------


@pytest.fixture
def genre(registry: Registry) -> Any:
    genres = [["Drama", "Comedy"], ["Sci-Fi"], [], ["Comedy"], None, "Sci-Fi"]
    items = [Item(str(n), {} if one is None else {"genres": one}) for n, one in enumerate(genres)]
    return build(registry, Stage.FILTER, "genre", Catalogue.of(items))


@pytest.mark.parametrize(
    ("argument", "rows"),
    [
        ("Comedy", [0, 3]),
        (" comedy ", [0, 3]),
        (["SCI-FI"], [1, 5]),
        (["Drama", "Sci-Fi"], [0, 1, 5]),
        ({"any": ["comedy"], "none": ["drama"]}, [3]),
        ({"none": ["Comedy"]}, [1, 2, 4, 5]),
    ],
)
def test_genres_are_filtered(registry: Registry, genre: Any, argument: object, rows: list[int]) -> None:
    declared = registry.get(Stage.FILTER, "genre", "test")[0].argument
    TypeAdapter(declared).validate_python(argument)
    mask = genre.allowed(argument)
    assert (mask.dtype, mask.shape) == (bool, (6,))
    assert mask.nonzero()[0].tolist() == rows
    validated = TypeAdapter(declared).validate_python(argument)
    assert (genre.allowed(validated) == mask).all()


def test_no_argument_allows_everything(genre: Any) -> None:
    for argument in (None, {}, {"any": [], "none": []}):
        assert genre.allowed(argument) is None


def test_an_unknown_genre_is_refused_with_the_nearest_name(genre: Any) -> None:
    for argument in ("Comdey", ["Drama", "comedi"], {"none": ["Comedies"]}):
        with pytest.raises(InvalidRequestError, match="did you mean 'Comedy'") as refusal:
            genre.allowed(argument)
        assert refusal.value.field == "filter.genre"
    with pytest.raises(InvalidRequestError, match="Comedy, Drama, Sci-Fi"):
        genre.allowed("zzz")


@pytest.mark.parametrize("argument", [7, [7], {"some": ["Comedy"]}, {"any": "Comedy"}, True, []])
def test_arguments_of_the_wrong_kind_are_refused(registry: Registry, argument: object) -> None:
    declared = registry.get(Stage.FILTER, "genre", "test")[0].argument
    with pytest.raises(ValidationError):
        TypeAdapter(declared).validate_python(argument)


def test_a_catalogue_without_genres(registry: Registry) -> None:
    filter_ = build(registry, Stage.FILTER, "genre", Catalogue.of([Item("a")]))
    assert filter_.allowed(None) is None
    with pytest.raises(InvalidRequestError, match="none"):
        filter_.allowed("Comedy")
