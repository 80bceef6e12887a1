"""Stage protocols: the typed interface of each stage, and the component that registers an implementation.

Stage objects are synchronous, batch-first and know nothing of Ray or HTTP. They must be safe to call
from several threads once loaded.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from pydantic import BaseModel, ConfigDict

from recserve.data.arrays import BoolArray, FloatArray, Int32Array
from recserve.data.batches import Candidates, Queries, Reranked, Retrieved
from recserve.data.catalogue import Catalogue
from recserve.data.dataset import Dataset, Tables
from recserve.data.entities import Item, Reason
from recserve.plugin.executor import Executor, InProcess


class Stage(StrEnum):
    """The fixed stages of the graph, in the order they run; the last three prepare data."""

    RETRIEVER = "retriever"
    ENCODER = "encoder"
    RANKER = "ranker"
    RERANKER = "reranker"
    FILTER = "filter"
    EXPLAINER = "explainer"
    ITEM_TEXT = "item_text"
    ITEM_ENCODER = "item_encoder"
    DATASET = "dataset"


@runtime_checkable
class Retriever(Protocol):
    """Candidate generation: proposes items out of the whole catalogue."""

    def retrieve(self, queries: Queries, k: int) -> Retrieved:
        """Find up to ``k`` items for each of B queries.

        Must honour ``queries.allowed``, ``queries.excluded`` and not return a query's anchor
        (``recserve.mask_scores`` does all three). A query it can say nothing about gets an all-pad
        row rather than noise.

        Returns:
            :class:`Retrieved` of shape (B, k') with k' <= k.
        """
        ...


@runtime_checkable
class RetrievesNewItems(Protocol):
    """A retriever that can also judge items by their text vectors alone.

    Items that came or changed after the bundle was trained are found through it within seconds.
    """

    def retrieve_among(self, queries: Queries, rows: Int32Array, vectors: FloatArray, k: int) -> Retrieved:
        """Find up to ``k`` of some items for each query.

        Must honour ``allowed`` (which covers new rows here), ``excluded`` and anchors, and score on the
        scale of ``retrieve``; :func:`recserve.mask_columns` does the former.

        Args:
            queries: B queries.
            rows: int32, shape (M,); rows of the items, distinct.
            vectors: float32, shape (M, d); their text vectors, unit length.
            k: At least 1.

        Returns:
            :class:`Retrieved` of shape (B, k') with k' <= min(k, M).
        """
        ...


@runtime_checkable
class MatchesWords(Protocol):
    """A lexical retriever: it compares the words of the query's text with those of items.

    It says nothing about a query without a text. Items that came or changed after the bundle was trained are
    found through it as soon as they are written, whether they have a vector or not.
    """

    def match_words(self, queries: Queries, rows: Int32Array, catalogue: Catalogue, k: int) -> Retrieved:
        """Find up to ``k`` of some items for each query.

        Must honour ``allowed`` (which covers new rows here), ``excluded`` and anchors, and score on the
        scale of ``retrieve``; :func:`recserve.mask_columns` does the former.

        Args:
            queries: B queries.
            rows: int32, shape (M,); rows of the items, distinct.
            catalogue: The items as they are now. The same object as long as none of them changes.
            k: At least 1.

        Returns:
            :class:`Retrieved` of shape (B, k') with k' <= min(k, M).
        """
        ...


@runtime_checkable
class RetrievesWrittenItems(Protocol):
    """A retriever that judges items by their ids and attributes, without a text vector.

    Items that came or changed after the bundle was trained are found through it as soon as they are written.
    """

    def retrieve_written(self, queries: Queries, rows: Int32Array, catalogue: Catalogue, k: int) -> Retrieved:
        """Find up to ``k`` of some items for each query.

        Must honour masks and score as :meth:`MatchesWords.match_words` does, whose arguments these are.
        Histories may hold rows of ``catalogue`` that the bundle's does not have.

        Args:
            queries: B queries.
            rows: int32, shape (M,); rows of the items, distinct.
            catalogue: The items as they are now. The same object as long as none of them changes.
            k: At least 1.

        Returns:
            :class:`Retrieved` of shape (B, k') with k' <= min(k, M).
        """
        ...


@runtime_checkable
class Encoder(Protocol):
    """Text encoder: turns texts into vectors.

    One that is :class:`Trainable` too is fitted before all other components, on a catalogue with the vectors
    that it gives untrained and with ``context.item_texts``; after that it has another fingerprint. It travels
    in the bundle, and to other processes by pickle.
    """

    @property
    def dimension(self) -> int:
        """Length d of a vector."""
        ...

    @property
    def fingerprint(self) -> str:
        """Identifies model, revision and settings; vectors of equal fingerprints are comparable."""
        ...

    def encode(self, texts: Sequence[str], progress: Callable[[int], None] | None = None) -> FloatArray:
        """Encode texts.

        Args:
            texts: n texts; an empty text gives some valid vector.
            progress: Called with the number of texts just finished, for long jobs.

        Returns:
            float32, shape (n, d), rows of unit length.
        """
        ...


@runtime_checkable
class TransformsVectors(Protocol):
    """A trainable encoder whose vectors follow from those that it gave before it was trained.

    After a fit the catalogue is then not encoded a second time.
    """

    def transform(self, vectors: FloatArray) -> FloatArray:
        """Its vectors of some texts.

        Args:
            vectors: float32, shape (n, d); of the same texts, before training.

        Returns:
            float32, shape (n, d), rows of unit length.
        """
        ...


@runtime_checkable
class KnowsItsWords(Protocol):
    """A text encoder that can say how much of a text it does not know.

    A query most of whose tokens are unknown has no meaning to the encoder: it is answered by its words alone.
    """

    def unknown_share(self, texts: Sequence[str]) -> FloatArray:
        """Share of the tokens of each text that are unknown, float32, shape (n,); 0 of an empty text."""
        ...


@runtime_checkable
class Distills(Protocol):
    """An encoder that can teach a smaller one to give its vectors."""

    def distill(
        self,
        texts: Sequence[str],
        vectors: FloatArray,
        layers: int,
        epochs: int,
        directory: Path,
        context: FitContext,
    ) -> Mapping[str, Any]:
        """Train a smaller encoder on this one's vectors and write its checkpoint.

        Args:
            texts: n texts.
            vectors: float32, shape (n, d); this encoder's vectors of them.
            layers: Layers of the smaller one.
            epochs: How often each text is read.
            directory: Existing empty folder, which the parameter ``model`` of the encoder then accepts.
            context: Seed, threads, device, progress.

        Returns:
            JSON-like facts about the smaller one.

        Raises:
            ConfigError: There is no smaller one of so many layers.
        """
        ...


@dataclass(frozen=True, slots=True)
class EncoderChoice:
    """The model that an encoder chose for some texts.

    Attributes:
        params: Parameters that name it, over the configured ones.
        reason: Why, without a full stop.
        advice: What to install or set where the chosen model does not read the texts; else empty.
    """

    params: Mapping[str, Any]
    reason: str
    advice: str = ""


@runtime_checkable
class ChoosesModel(Protocol):
    """An encoder component whose model is still to be chosen, built from parameters that leave it open.

    Training chooses by the items' texts and keeps the choice in the bundle, which servers follow.
    """

    def choose(self, texts: Sequence[str]) -> EncoderChoice:
        """Choose; equal texts and installed packages give an equal choice."""
        ...


@runtime_checkable
class Ranker(Protocol):
    """Ranker: scores the candidates of a query."""

    def score(self, queries: Queries, candidates: Candidates) -> FloatArray:
        """Score each candidate of each query.

        Returns:
            float32, shape (B, K) like ``candidates.items``; higher is better, pads are ignored.
        """
        ...


@runtime_checkable
class ScoresUsers(Protocol):
    """A ranker that can also compare users: how much each of them wants one item.

    Scores of :meth:`Ranker.score` order the items of one user. Those of two users need not be on one scale.
    """

    def affinity(self, queries: Queries, item: int) -> FloatArray:
        """How much each user wants an item.

        Args:
            queries: B queries; their histories count, and what the users wrote.
            item: Row of the item; a row behind the catalogue is one of ``queries.extra_vectors``.

        Returns:
            float32, shape (B,); higher is better, comparable between users; -inf where nothing is known of a
            user.
        """
        ...


@runtime_checkable
class ShowsFeatures(Protocol):
    """A ranker that shows the features it goes by, which the leak checks look at."""

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Names of the F features."""
        ...

    @property
    def counted_until(self) -> int:
        """Time of the newest event that any feature was counted on, milliseconds since the epoch."""
        ...

    def features(self, queries: Queries, candidates: Candidates) -> FloatArray:
        """What the ranker reads of each candidate when it learns and when it scores.

        Returns:
            float32, shape (B, K, F), NaN where nothing is known; anything at pads.
        """
        ...


@runtime_checkable
class Reranker(Protocol):
    """Reranker: reorders the ranked list for diversity, business rules or calibration."""

    def rerank(self, queries: Queries, ranked: Candidates, n: int) -> Int32Array | Reranked:
        """Choose and order positions of ``ranked`` (which is sorted best first).

        Returns:
            int32, shape (B, m) with m >= min(n, K): positions into ``ranked``, each at most once a
            row, -1 pads. :class:`recserve.Reranked` where some queries could not be treated as they should.
        """
        ...


@runtime_checkable
class Filter(Protocol):
    """Filter: a mask of the items that may be returned.

    One whose masks change by themselves is an :class:`ExpiringFilter`.
    """

    def allowed(self, argument: Any) -> BoolArray | None:
        """Which items are allowed.

        Args:
            argument: What the request gave under this filter's name, already validated against the
                component's ``argument`` type; None when the request does not mention the filter.

        Returns:
            bool, shape (n_items,), or None to allow everything. Masks are cached by argument.

        Raises:
            InvalidRequestError: The argument makes no sense for this catalogue.
        """
        ...


@runtime_checkable
class ExpiringFilter(Protocol):
    """A filter whose masks change by themselves, such as one that looks at the clock.

    Attributes:
        ttl_seconds: How long a mask may be cached, 0 for not at all.
    """

    ttl_seconds: float


@runtime_checkable
class Explainer(Protocol):
    """Explainer: puts reasons into words that a user understands."""

    def explain(self, reasons: Sequence[Reason]) -> list[str]:
        """One sentence for each reason, in order."""
        ...


@runtime_checkable
class ItemText(Protocol):
    """Item text: renders the text of an item that the encoder reads."""

    def text(self, item: Item) -> str:
        """The text; may be empty when the item has nothing to say."""
        ...


@runtime_checkable
class ItemEncoder(Protocol):
    """Item encoder: computes vectors of items in a named space from what attributes name, such as pictures.

    Contents are read one by one and encoded some at a time; a vector is kept by its content, so that training
    encodes only what changed.
    """

    @property
    def dimension(self) -> int:
        """Length d of a vector."""
        ...

    @property
    def fingerprint(self) -> str:
        """Identifies model, revision and settings; vectors of equal fingerprints are comparable."""
        ...

    def content(self, item: Item) -> bytes | None:
        """What the vector of an item is computed from, such as the bytes of its picture; None without any.

        Raises:
            DataError: It names something that cannot be read. The item has no vector then, which is counted
                and said.
        """
        ...

    def encode(self, contents: Sequence[bytes]) -> FloatArray:
        """Encode contents.

        Returns:
            float32, shape (n, d), rows of unit length; a zero row for a content that cannot be understood.
        """
        ...


@runtime_checkable
class DataSource(Protocol):
    """Data source: a whole data set, for ``recserve import --dataset NAME``."""

    def read(self) -> Tables:
        """Read everything.

        Raises:
            DataError: The source is missing, damaged or not what it claims to be.
        """
        ...

    def suggested_config(self) -> Mapping[str, Any]:
        """Configuration that suits this data, written to a new home that has none yet."""
        ...


@dataclass(frozen=True, slots=True)
class FitContext:
    """Context of a fit: seed, progress, threads, device, executor and the facts of an earlier fit.

    Attributes:
        seed: Seed of everything random; equal data, params and seed give an equal result.
        event_types: Configured event types in the order of their codes (``Histories.events``).
        progress: Called with (description, done, total) during long work.
        validated: Called with (step, score) whenever the fit has scored itself on data of its own, such
            as after each epoch; higher is better. Tuning ends fits that fall behind.
        previous: What an earlier ``fit`` of this component returned, when this is the final fit on all
            data: decisions that needed validation data (epochs, blend weights) are taken from here.
        threads: CPU threads the fit may use.
        device: ``"cpu"``, ``"cuda"`` or ``"auto"``.
        executor: Computes what a fit splits into parts, here or on the workers of a cluster.
        item_texts: Called without arguments, the texts of the catalogue's items in row order, as item text
            renders them for the encoder.
        encoder: The text encoder, for a component that trains it (see :attr:`Component.trains_encoder`): it
            has learnt when the fit ends. It is :class:`Trainable`; the vectors of ``data`` are those that it
            gives untrained. None for all other components.
    """

    seed: int = 0
    event_types: tuple[str, ...] = ()
    progress: Callable[[str, int, int], None] = lambda description, done, total: None
    validated: Callable[[int, float], None] = lambda step, score: None
    previous: Mapping[str, Any] | None = None
    threads: int = 0
    device: str = "auto"
    executor: Executor = field(default_factory=InProcess)
    item_texts: Callable[[], Sequence[str]] = tuple
    encoder: Encoder | None = None


@runtime_checkable
class Trainable(Protocol):
    """A component that learns from data and keeps what it learnt in a bundle."""

    def fit(self, data: Dataset, context: FitContext) -> Mapping[str, Any]:
        """Learn from ``data``; validation data, if needed, must be carved out of it.

        Returns:
            JSON-like facts about the fit (epochs, losses, ...), given back as ``context.previous`` at
            the final fit. Must be deterministic: no times, no host facts.
        """
        ...

    def save(self, directory: Path) -> None:
        """Write the learnt state into an existing empty directory (safetensors, npy, parquet, json)."""
        ...

    def load(self, directory: Path) -> None:
        """Restore what :meth:`save` wrote.

        Raises:
            BundleError: A file is missing or does not fit the catalogue.
        """
        ...


@dataclass(frozen=True, slots=True)
class RankingExamples:
    """Supervised examples for a ranker or reranker: what was proposed and what the user then did.

    Attributes:
        queries: B queries, each as of just before its positive event.
        candidates: What the configured retrievers proposed, merged, shape (B, K); for a reranker in the order
            and with the scores of the ranker.
        labels: float32, shape (B, K); the confidence of the user's later event with the
            candidate, 0 where there was none.
        users: int32, shape (B,); dense user number of each query, for grouping.
    """

    queries: Queries
    candidates: Candidates
    labels: FloatArray
    users: Int32Array


@runtime_checkable
class LearnsFromCandidates(Protocol):
    """A ranker or reranker that also learns from the next window's positives among candidates."""

    def fit_candidates(self, examples: RankingExamples, context: FitContext) -> Mapping[str, Any]:
        """Learn how to combine signals; called after :meth:`Trainable.fit` on the earlier window.

        Returns:
            JSON-like facts, merged into what ``fit`` returned and given as ``previous`` at the final
            fit (after which ``fit_candidates`` is not called again).
        """
        ...


class NoParams(BaseModel):
    """Parameters of a component that has none."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def search(
    *,
    low: float | None = None,
    high: float | None = None,
    log: bool = False,
    choices: Sequence[Any] | None = None,
) -> dict[str, Any]:
    """Annotate a ``Params`` field with the range that tuning searches.

    Use as ``Field(64, ge=1, json_schema_extra=search(choices=[32, 64, 128]))``. The annotation shows
    up in the component's JSON schema under ``search``.

    Args:
        low: Lower end of a numeric range, inclusive.
        high: Upper end of a numeric range, inclusive.
        log: Search the range on a logarithmic scale.
        choices: A finite set instead of a range.
    """
    if choices is not None:
        return {"search": {"choices": list(choices)}}
    if low is None or high is None or low >= high:
        raise ValueError("search() needs choices, or low < high")
    return {"search": {"low": low, "high": high, "log": log}}


@dataclass(frozen=True)
class Component:
    """One named thing that a plugin contributes to one stage.

    Attributes:
        name: What configuration calls it (``use: NAME``); lower case, unique within its stage.
        factory: Builds the stage object from validated params and the catalogue. Data sources and
            item texts and encoders are built before there is a catalogue and get an empty one.
        params: pydantic model of its parameters: config schema, documentation, search space.
        needs_vectors: Whether the component reads ``catalogue.vectors``; configuration without an encoder is
            then refused. Where its parameters decide: given validated params, whether it does.
        needs_texts: The component reads items' texts and nothing else; training leaves it out where no item
            has one.
        sequential: The component learns from the order of events. Where times say nothing of it, and items
            have no texts that it reads as well, training leaves it out.
        automatic: `recserve train --auto` may choose the component. What costs far more than others as data
            grow is for people to choose.
        slow: A fit of the component takes minutes where others take seconds. `recserve train --quick` leaves
            it to the next training.
        argument: For filters: the type of the request's argument (anything pydantic validates).
        summary: One line for ``recserve plugins``.
        stateless: The component learns nothing: its parameters may differ between scenarios, and a server
            takes them from its configuration, not from the bundle.
        needs_impressions: The reranker reads ``queries.impressions``. Where a scenario has such a reranker,
            the server counts what it shows to whom, and answers of that scenario to users are never cached:
            each changes the next.
        not_in_bundles: Given validated params, why a bundle must not hold the component, or None if it may.
            What holds something about single people says so here: it can be evaluated, but training refuses
            it before anything is fitted.
        trains_encoder: Given validated params, whether a fit of the component trains the text encoder too. It
            is then fitted before all others, with :attr:`FitContext.encoder`.
        external: The reranker asks a service outside, which costs money and is not always there. Training and
            evaluation do without it; requests can leave it out but neither add it nor change its parameters.
    """

    name: str
    factory: Callable[[Any, Catalogue], Any]
    params: type[BaseModel] = NoParams
    needs_vectors: bool | Callable[[Any], bool] = False
    needs_texts: bool = False
    sequential: bool = False
    automatic: bool = True
    slow: bool = False
    argument: Any = None
    summary: str = ""
    stateless: bool = False
    needs_impressions: bool = False
    not_in_bundles: Callable[[Any], str | None] | None = None
    trains_encoder: Callable[[Any], bool] | None = None
    external: bool = False


__all__ = [
    "ChoosesModel",
    "Component",
    "DataSource",
    "Distills",
    "Encoder",
    "EncoderChoice",
    "ExpiringFilter",
    "Explainer",
    "Filter",
    "FitContext",
    "ItemEncoder",
    "ItemText",
    "KnowsItsWords",
    "LearnsFromCandidates",
    "MatchesWords",
    "NoParams",
    "Ranker",
    "RankingExamples",
    "Reranker",
    "Retriever",
    "RetrievesNewItems",
    "ScoresUsers",
    "ShowsFeatures",
    "Stage",
    "Tables",
    "Trainable",
    "TransformsVectors",
    "search",
]
