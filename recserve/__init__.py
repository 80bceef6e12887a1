"""recserve: a plugin-based recommendation server on Ray Serve.

The names re-exported here are the public contract: plugins need nothing else.
"""

from recserve.ann import CellIndex
from recserve.catalogue import Catalogue
from recserve.columns import AttributeColumn
from recserve.dataset import Dataset
from recserve.domain import (
    Candidates,
    Event,
    EventType,
    Histories,
    Item,
    Queries,
    Ragged,
    Reason,
    Retrieved,
    User,
)
from recserve.errors import (
    BundleError,
    ConfigError,
    DataError,
    InvalidRequestError,
    NotFoundError,
    PluginError,
    RecserveError,
)
from recserve.hookspecs import hookimpl
from recserve.selection import climb, hold_out_newest, ndcg_of
from recserve.stages import (
    Component,
    DataSource,
    Encoder,
    Explainer,
    Filter,
    FitContext,
    ItemText,
    LearnsFromCandidates,
    NoParams,
    Ranker,
    RankingExamples,
    Reranker,
    Retriever,
    RetrievesNewItems,
    Tables,
    Trainable,
    search,
)
from recserve.tastes import best_contributors, in_parts, taste_vectors
from recserve.topk import mask_columns, mask_scores, top_k
from recserve.vocabulary import Vocabulary

__version__ = "0.1.0"

__all__ = [
    "AttributeColumn",
    "BundleError",
    "Candidates",
    "Catalogue",
    "CellIndex",
    "Component",
    "ConfigError",
    "DataError",
    "DataSource",
    "Dataset",
    "Encoder",
    "Event",
    "EventType",
    "Explainer",
    "Filter",
    "FitContext",
    "Histories",
    "InvalidRequestError",
    "Item",
    "ItemText",
    "LearnsFromCandidates",
    "NoParams",
    "NotFoundError",
    "PluginError",
    "Queries",
    "Ragged",
    "Ranker",
    "RankingExamples",
    "Reason",
    "RecserveError",
    "Reranker",
    "Retrieved",
    "Retriever",
    "RetrievesNewItems",
    "Tables",
    "Trainable",
    "User",
    "Vocabulary",
    "__version__",
    "best_contributors",
    "climb",
    "hold_out_newest",
    "hookimpl",
    "in_parts",
    "mask_columns",
    "mask_scores",
    "ndcg_of",
    "search",
    "taste_vectors",
    "top_k",
]
