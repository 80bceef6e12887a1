"""Routes that the console is made of beside the others."""

from __future__ import annotations

from recserve.api import openapi
from recserve.api.routes.console.bundles import BundleRoutes
from recserve.api.routes.console.configuration import ConfigurationRoutes
from recserve.api.routes.console.live import LiveRoutes
from recserve.api.routes.tables.adder import Adder
from recserve.api.schemas import bundles, configuration
from recserve.api.schemas.about import LiveNowAnswer


def add_live(add: Adder, routes: LiveRoutes) -> None:
    """Add what the server does at this moment."""
    add(
        "GET",
        "/v1/live",
        routes.live_now,
        "What the server does now",
        "Requests, events, latencies, caches, what was degraded, the bundle, and every replica of every "
        "stage. All counts are totals: ask twice and take the difference. It is gathered at most every two "
        "seconds, however many ask.",
        openapi.responses(LiveNowAnswer, "What all replicas have counted."),
    )


def add_bundles(add: Adder, routes: BundleRoutes) -> None:
    """Add what there is to serve, and what is served."""
    add(
        "GET",
        "/v1/bundles",
        routes.list_bundles,
        "List bundles",
        "The newest ones, which of them is to be served, and the newest promotions: who, when, why and by "
        "which figures.",
        openapi.responses(bundles.BundlesAnswer, "The bundles."),
    )
    # Before the bundle itself, whose path would swallow it.
    add(
        "GET",
        "/v1/bundles/compare",
        routes.compare_bundles,
        "Compare two bundles",
        "What training measured of each, their difference over the same users where there is one, and what "
        "differs in what made them. Nothing is fitted for it; what users did with each is in the report of "
        "outcomes by `bundle`.",
        openapi.responses(bundles.ComparisonOfBundlesAnswer, "The comparison.", 404),
    )
    add(
        "POST",
        "/v1/bundles/rollback",
        routes.roll_back_bundle,
        "Roll back",
        "Makes the bundle that was current before this one current again. A second rollback returns to where "
        "the first one came from. Needs the scope `admin`.",
        openapi.responses(bundles.PromotedAnswer, "It is current again.", 409, body=True),
        bundles.RollbackBody,
        Something_is_wrong={"reason": "CTR fell"},
    )
    add(
        "GET",
        "/v1/bundles/{bundle_id}",
        routes.bundle,
        "One bundle",
        "What made it, what training measured of it, and when it was current.",
        openapi.responses(bundles.BundleDetailsAnswer, "The bundle.", 404),
    )
    add(
        "GET",
        "/v1/bundles/{bundle_id}/report",
        routes.bundle_report,
        "A bundle's offline report",
        "A page without scripts that shows what training measured. It is kept where the bundle was trained, "
        "in the home folder.",
        openapi.text_responses(
            "The page.", "<!doctype html>\n<title>Report</title>\n", 404, media_type="text/html"
        ),
    )
    add(
        "POST",
        "/v1/bundles/{bundle_id}/promote",
        routes.promote_bundle,
        "Promote a bundle",
        "Makes it current, unless the evidence speaks against it: what training measured of both bundles on "
        "the same data, what chance has shown since, and experiments. Servers follow within seconds. Nothing "
        "is fitted for it: where the two were not measured on the same data the answer is 409 with the code "
        "`not_measured`. Needs the scope `admin`.",
        openapi.responses(bundles.PromotedAnswer, "It is current.", 404, 409, body=True),
        bundles.PromoteBody,
        If_it_is_no_worse={"reason": "new data"},
        Whatever_the_evidence_says={"reason": "the old one shows what we may not", "force": True},
    )


def add_configuration(add: Adder, routes: ConfigurationRoutes) -> None:
    """Add the configuration and its check."""
    add(
        "GET",
        "/v1/config",
        routes.configuration,
        "The configuration",
        "What the server runs with, secrets shown as `***`. Needs the scope `admin`.",
        openapi.responses(configuration.ConfigurationAnswer, "The configuration."),
    )
    add(
        "POST",
        "/v1/config/validate",
        routes.check_configuration,
        "Check a changed configuration",
        "Names every mistake, and says what the text would change and what that needs. Nothing is applied or "
        "written: a server gets its configuration from whoever deploys it. Needs the scope `admin`.",
        openapi.responses(configuration.ConfigurationCheckAnswer, "What is to be said of it.", body=True),
        configuration.ConfigurationTextBody,
        Another_seed={"text": "train:\n  seed: 1\n"},
    )
