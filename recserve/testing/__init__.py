"""Conformance suites: what a plugin author runs against his own components.

Each ``check_*`` function builds the component by its registered name, through the same entry points as a
server, fits it on a small made-up data set if it is trainable, and asserts what the graph relies on. Use them
in plain pytest functions::

    from recserve.testing import check_retriever

    def test_contract():
        check_retriever("newest", attribute="year")

    def test_contract_on_our_catalogue():
        check_retriever("newest", dataset=dataset_from(items, events), attribute="season")
"""

from recserve.testing.checks import (
    build,
    check_encoder,
    check_executor,
    check_explainer,
    check_filter,
    check_item_text,
    check_ranker,
    check_reranker,
    check_retriever,
)
from recserve.testing.data_sources import check_files
from recserve.testing.examples import (
    dataset_from,
    dataset_of,
    example_candidates,
    example_catalogue,
    example_dataset,
    example_queries,
    one_query,
    queries_after,
)
from recserve.testing.item_encoders import check_item_encoder
from recserve.testing.pipelines import pipeline_over
from recserve.testing.processes import ProcessExecutor

__all__ = [
    "ProcessExecutor",
    "build",
    "check_encoder",
    "check_executor",
    "check_explainer",
    "check_files",
    "check_filter",
    "check_item_encoder",
    "check_item_text",
    "check_ranker",
    "check_reranker",
    "check_retriever",
    "dataset_from",
    "dataset_of",
    "example_candidates",
    "example_catalogue",
    "example_dataset",
    "example_queries",
    "one_query",
    "pipeline_over",
    "queries_after",
]
