"""Every metric of the project: name, kind, meaning, labels. The reference page is written from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
SIZES = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0)

ORIGIN_LABELS = ("stage", "replica", "node")
"""Labels that every series has: where it was counted."""


@dataclass(frozen=True, eq=False)
class Instrument:
    """Definition of a metric.

    Attributes:
        name: As Prometheus shows it, unit included.
        kind: Type of Prometheus.
        text: What it says, in one sentence.
        labels: Beside :data:`ORIGIN_LABELS`; each has few values.
        buckets: Upper bounds of a histogram's buckets, ``+Inf`` left out.
    """

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    text: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()


REQUESTS = Instrument("recserve_requests_total", "counter", "HTTP requests answered.", ("route", "status"))
REQUEST_SECONDS = Instrument(
    "recserve_request_seconds",
    "histogram",
    "Seconds from a request's head to the end of its answer.",
    ("route",),
    SECONDS,
)
ERRORS = Instrument("recserve_errors_total", "counter", "Errors answered, by their stable code.", ("code",))
DEGRADED = Instrument(
    "recserve_degraded_total",
    "counter",
    "Answers that went on without a part, and why: failed, late, down, overloaded, store or bundle.",
    ("part", "cause"),
)
STEP_SECONDS = Instrument(
    "recserve_step_seconds",
    "histogram",
    "Seconds of one step of a batch as the ingress sees it, the hop to the stage included.",
    ("step",),
    SECONDS,
)
CALL_SECONDS = Instrument(
    "recserve_call_seconds",
    "histogram",
    "Seconds of one call of a stage as its replica sees it, the wait for a thread included.",
    ("call",),
    SECONDS,
)
CALL_FAILURES = Instrument(
    "recserve_call_failures_total",
    "counter",
    "Calls of a stage that its replica answered with an error, and why.",
    ("call", "cause"),
)
BATCH_SIZE = Instrument(
    "recserve_batch_size", "histogram", "Requests, queries or texts of one batch.", ("call",), SIZES
)
QUEUE_SECONDS = Instrument(
    "recserve_queue_seconds",
    "histogram",
    "Seconds that the first request of a batch waited for a place.",
    ("call",),
    SECONDS,
)
QUEUE_LENGTH = Instrument("recserve_queue_length", "gauge", "Requests that wait for a place in a batch.")
THREAD_CALLS = Instrument(
    "recserve_thread_calls",
    "gauge",
    "Calls of plugin code by state: waiting for a thread, running, or stuck after their deadline.",
    ("state",),
)
CACHE_LOOKUPS = Instrument(
    "recserve_cache_lookups_total",
    "counter",
    "Lookups in a cache of this process (result, user, text) and their outcome (hit, miss).",
    ("cache", "outcome"),
)
COMPONENT_OUTCOMES = Instrument(
    "recserve_component_outcomes_total",
    "counter",
    "What components count of their own work, such as answers of a language model that were used or refused.",
    ("component", "outcome"),
)
EVENTS_ACCEPTED = Instrument(
    "recserve_events_accepted_total",
    "counter",
    "Events acknowledged, those that were stored already included.",
    ("event",),
)
EVENTS_STORED = Instrument("recserve_events_stored_total", "counter", "Events stored, each once.")
EVENT_TEXTS = Instrument(
    "recserve_event_texts_total",
    "counter",
    "Texts of events whose vector was stored in the background, or was not because that failed or too many "
    "waited (dropped); a request that needs such a vector has it made.",
    ("outcome",),
)
EXPOSURES = Instrument(
    "recserve_exposures_total", "counter", "Answers handed to the log of exposures.", ("scenario",)
)
EXPOSURES_LOST = Instrument(
    "recserve_exposures_lost_total",
    "counter",
    "Answers given that could not be handed to the log of exposures.",
    ("scenario",),
)
CONTEXTS_LOST = Instrument(
    "recserve_contexts_lost_total",
    "counter",
    "Contexts of requests that were beyond the bounds of what is stored with an exposure, and are not.",
    ("scenario",),
)
ARM_ANSWERS = Instrument(
    "recserve_arm_answers_total",
    "counter",
    "Answers of an experiment's arm: shown, shadow (computed and logged only), or a shadow that was dropped "
    "or failed.",
    ("experiment", "arm", "outcome"),
)
UNASSIGNED = Instrument(
    "recserve_unassigned_requests_total",
    "counter",
    "Requests that no arm has because they name neither a user nor a session, while an experiment over their "
    "scenario runs.",
    ("scenario",),
)
OBSERVATIONS_DROPPED = Instrument(
    "recserve_observations_dropped_total", "counter", "Observations that plugins were too slow to take."
)
BUNDLE_INFO = Instrument(
    "recserve_bundle_info", "gauge", "1 for the bundle in service, 0 for the previous one.", ("bundle",)
)
BUNDLE_SERVED = Instrument(
    "recserve_bundle_served_seconds", "gauge", "Seconds since the replica began to serve its bundle."
)
BUNDLE_AGE = Instrument(
    "recserve_bundle_age_seconds", "gauge", "Seconds since the newest event that the bundle was trained on."
)
LIVE_ITEMS = Instrument(
    "recserve_delta_items", "gauge", "Items served from the delta index, not from the bundle."
)
STREAM_CHANGES = Instrument(
    "recserve_stream_changes_total",
    "counter",
    "What became of the changes of a stream: stored, duplicate, written, deleted or refused of a source; "
    "sent or refused of a sink; stored, duplicate, refused or skipped of a hook, which is `hook:NAME`.",
    ("stream", "kind", "outcome"),
)
STREAM_BEHIND = Instrument(
    "recserve_stream_queue_length",
    "gauge",
    "Messages of a topic that a source has not read yet, or numbers of the store that a sink is behind.",
    ("stream", "kind"),
)
PROCESS_MEMORY = Instrument("recserve_process_memory_bytes", "gauge", "Resident memory of the process.")
PROCESS_CPU = Instrument("recserve_process_cpu_seconds_total", "counter", "CPU time of the process.")
SCRAPE_MISSING = Instrument(
    "recserve_scrape_missing_replicas",
    "gauge",
    "Replicas of a stage that did not answer this scrape in time, so that their series are absent from it.",
)
SCRAPE_SECONDS = Instrument("recserve_scrape_seconds", "gauge", "Seconds that gathering this scrape took.")

INSTRUMENTS = tuple(value for value in list(globals().values()) if isinstance(value, Instrument))
"""All of them, in the order of this page."""
