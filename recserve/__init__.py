"""recserve: a plugin-based recommendation server on Ray Serve.

The names re-exported here are the public contract: plugins need nothing else.
"""

from recserve.config import nearest
from recserve.data.arrays import (
    BoolArray,
    Float64Array,
    FloatArray,
    Int16Array,
    Int32Array,
    Int64Array,
    flat_ranges,
    places_within,
)
from recserve.data.batches import Candidates, Histories, Queries, Ragged, RecentTexts, Reranked, Retrieved
from recserve.data.catalogue import Catalogue
from recserve.data.columns.attributes import AttributeColumn
from recserve.data.dataset import Dataset, Tables
from recserve.data.entities import Event, EventType, Item, Reason, User
from recserve.data.events.context import Contexts
from recserve.data.events.event_order import EventOrder
from recserve.data.events.impressions import Impressions
from recserve.data.system.addresses import is_loopback
from recserve.data.system.compilation import compiled
from recserve.data.system.cpus import map_in_threads, usable_threads
from recserve.data.vocabulary import Vocabulary
from recserve.errors import (
    BundleError,
    ConfigError,
    DataError,
    InvalidRequestError,
    NotFoundError,
    PluginError,
    RecserveError,
)
from recserve.plugin.builtins.item_text import FieldsText
from recserve.plugin.builtins.wording import (
    CHINESE_PHRASES,
    ENGLISH_PHRASES,
    PhraseExplainer,
    Phrases,
)
from recserve.plugin.executor import Executor, InProcess, Shared, TorchWorker
from recserve.plugin.hookspecs import hookimpl
from recserve.plugin.protocols import (
    ChoosesModel,
    Component,
    DataSource,
    Distills,
    Encoder,
    EncoderChoice,
    ExpiringFilter,
    Explainer,
    Filter,
    FitContext,
    ItemEncoder,
    ItemText,
    KnowsItsWords,
    LearnsFromCandidates,
    MatchesWords,
    NoParams,
    Ranker,
    RankingExamples,
    Reranker,
    Retriever,
    RetrievesNewItems,
    RetrievesWrittenItems,
    ScoresUsers,
    ShowsFeatures,
    Trainable,
    search,
)
from recserve.plugin.sources.delimited import DelimitedFile
from recserve.plugin.sources.folder import Demo, FolderParams, FolderSource, SampleSource
from recserve.plugin.sources.tables import clock, event_table, iso_time, item_table
from recserve.plugin.toolkit.interactions import best_contributors, in_parts, taste_vectors
from recserve.plugin.toolkit.inverted_file import InvertedFileIndex
from recserve.plugin.toolkit.item_comparison import ComparedItems, most_similar
from recserve.plugin.toolkit.item_weights import ItemWeights
from recserve.plugin.toolkit.metrics import ndcg, ndcg_of
from recserve.plugin.toolkit.model_selection import Validation, climb, hold_out, mean_ndcg, narrow
from recserve.plugin.toolkit.stored_arrays import read_array, read_item_lists
from recserve.plugin.toolkit.topk import mask_columns, mask_scores, top_k, top_k_of_products
from recserve.plugin.toolkit.vector_index import ExactIndex, VectorIndex, sample_queries
from recserve.telemetry.outcomes import count_outcome

__version__ = "0.1.0"

__all__ = [
    "CHINESE_PHRASES",
    "ENGLISH_PHRASES",
    "AttributeColumn",
    "BoolArray",
    "BundleError",
    "Candidates",
    "Catalogue",
    "ChoosesModel",
    "ComparedItems",
    "Component",
    "ConfigError",
    "Contexts",
    "DataError",
    "DataSource",
    "Dataset",
    "DelimitedFile",
    "Demo",
    "Distills",
    "Encoder",
    "EncoderChoice",
    "Event",
    "EventOrder",
    "EventType",
    "ExactIndex",
    "Executor",
    "ExpiringFilter",
    "Explainer",
    "FieldsText",
    "Filter",
    "FitContext",
    "Float64Array",
    "FloatArray",
    "FolderParams",
    "FolderSource",
    "Histories",
    "Impressions",
    "InProcess",
    "Int16Array",
    "Int32Array",
    "Int64Array",
    "InvalidRequestError",
    "InvertedFileIndex",
    "Item",
    "ItemEncoder",
    "ItemText",
    "ItemWeights",
    "KnowsItsWords",
    "LearnsFromCandidates",
    "MatchesWords",
    "NoParams",
    "NotFoundError",
    "PhraseExplainer",
    "Phrases",
    "PluginError",
    "Queries",
    "Ragged",
    "Ranker",
    "RankingExamples",
    "Reason",
    "RecentTexts",
    "RecserveError",
    "Reranked",
    "Reranker",
    "Retrieved",
    "Retriever",
    "RetrievesNewItems",
    "RetrievesWrittenItems",
    "SampleSource",
    "ScoresUsers",
    "Shared",
    "ShowsFeatures",
    "Tables",
    "TorchWorker",
    "Trainable",
    "User",
    "Validation",
    "VectorIndex",
    "Vocabulary",
    "__version__",
    "best_contributors",
    "climb",
    "clock",
    "compiled",
    "count_outcome",
    "event_table",
    "flat_ranges",
    "hold_out",
    "hookimpl",
    "in_parts",
    "is_loopback",
    "iso_time",
    "item_table",
    "map_in_threads",
    "mask_columns",
    "mask_scores",
    "mean_ndcg",
    "most_similar",
    "narrow",
    "ndcg",
    "ndcg_of",
    "nearest",
    "places_within",
    "read_array",
    "read_item_lists",
    "sample_queries",
    "search",
    "taste_vectors",
    "top_k",
    "top_k_of_products",
    "usable_threads",
]
