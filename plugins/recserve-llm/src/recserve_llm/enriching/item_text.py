"""The item text itself: asks about a whole catalogue at training, and about nothing while serving."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import FIRST_COMPLETED, Future, wait
from pathlib import Path
from threading import Lock
from typing import Any

from recserve import Catalogue, Item, count_outcome
from recserve_llm.base import build_base
from recserve_llm.client.chat import shared_client
from recserve_llm.client.completion import Completion, LlmError
from recserve_llm.client.memory import RefusedError
from recserve_llm.enriching.cache import EnrichmentCache, content_key, default_path
from recserve_llm.enriching.prompt import Enrichment, enrichment_request, read_enrichment
from recserve_llm.parameters import LlmItemTextParams
from recserve_llm.quoting import is_suspicious

logger = logging.getLogger(__name__)

NAME = "llm_item_text"

_KEPT_AT_ONCE = 50
_SAID_SECONDS = 10.0
_GIVEN_UP = 20


class LlmItemText:
    """Item text of another component with tags and a summary of a language model behind it.

    The first item of the catalogue that it was built on whose text is not in the cache has all such items of
    that catalogue asked about, side by side. That is what training does. While serving only items that came
    or changed later are rendered: they are looked up in the cache and otherwise keep their own text until the
    next training. An item that cannot be enriched keeps its own text, and the log says how many did and why.

    Args:
        params: Connection, base item text, bounds.
        catalogue: What may be asked about.
    """

    def __init__(self, params: LlmItemTextParams, catalogue: Catalogue) -> None:
        self._params = params
        self._catalogue = catalogue
        self._base: Any = build_base("item_text", params.base, params.base_params, catalogue)
        self._lock = Lock()
        self._cache: EnrichmentCache | None = None
        self._known: dict[str, Enrichment | None] = {}
        self._enriched = False

    def __reduce__(self) -> tuple[object, ...]:
        """Travel between processes as what it is made of."""
        return LlmItemText, (self._params, self._catalogue)

    def text(self, item: Item) -> str:
        """See :class:`recserve.ItemText`."""
        own: str = self._base.text(item)
        if not own or is_suspicious(own):
            return own
        added = self._enrichment(item, content_key(own, self._params))
        return own if added is None or not added.text else f"{own.rstrip('.')}. {added.text}"

    def _enrichment(self, item: Item, key: str) -> Enrichment | None:
        with self._lock:
            if key not in self._known:
                if self._is_of_catalogue(item):
                    self._enrich_catalogue()
                else:
                    self._known.update(self._opened().read([key]))
            return self._known.get(key)

    def _is_of_catalogue(self, item: Item) -> bool:
        """Whether the item is one of the catalogue, as it is there."""
        row = self._catalogue.ids.row(item.item_id)
        return row is not None and row >= 0 and self._catalogue.item(row).attributes == item.attributes

    def _opened(self) -> EnrichmentCache:
        if self._cache is None:
            path = self._params.cache
            self._cache = EnrichmentCache(default_path() if path is None else Path(path).expanduser())
        return self._cache

    def _enrich_catalogue(self) -> None:
        """Ask about every item of the catalogue whose text is not in the cache; once."""
        if self._enriched:
            return
        self._enriched = True
        texts = [text for item in self._catalogue.items() if (text := self._base.text(item))]
        fit = [text for text in dict.fromkeys(texts) if not is_suspicious(text)]
        by_key = {content_key(text, self._params): text for text in fit}
        self._known = self._opened().read(by_key)
        missing = {key: text for key, text in by_key.items() if key not in self._known}
        if suspicious := len(set(texts)) - len(fit):
            count_outcome(NAME, "suspicious", suspicious)
        if not missing:
            return
        found = _Enriching(self._params, self._opened(), missing).run()
        self._known |= found.answers
        refused = sum(answer is None for answer in found.answers.values())
        logger.info(
            "language model %s: %d texts enriched, %d known, %d refused, %d suspicious, %d left alone%s",
            self._params.model,
            len(found.answers) - refused,
            len(by_key) - len(missing),
            refused,
            suspicious,
            len(missing) - len(found.answers),
            "".join(f"; {cause}: {count}" for cause, count in found.causes.items()),
        )


class _Enriching:
    """Questions about many texts, side by side, within a number and a time."""

    def __init__(self, params: LlmItemTextParams, cache: EnrichmentCache, texts: Mapping[str, str]) -> None:
        self._params = params
        self._cache = cache
        self._texts = list(texts.items())[: params.max_items]
        self.answers: dict[str, Enrichment | None] = {}
        self.causes: Counter[str] = Counter({"over max_items": len(texts) - len(self._texts)})

    def run(self) -> _Enriching:
        client = shared_client(self._params.connection())
        end = time.monotonic() + self._params.max_seconds
        waiting = self._texts[::-1]
        asked: dict[Future[Completion], str] = {}
        unsaved: dict[str, Enrichment | None] = {}
        said = time.monotonic()
        while (waiting or asked) and time.monotonic() < end and self.causes["failures"] < _GIVEN_UP:
            while waiting and len(asked) < self._params.concurrency:
                key, text = waiting.pop()
                asked[client.submit(enrichment_request(text, self._params))] = key
            done, _ = wait(asked, timeout=1.0, return_when=FIRST_COMPLETED)
            pause = 0.0
            for future in done:
                key = asked.pop(future)
                try:
                    unsaved[key] = self._read(future)
                except LlmError as error:
                    count_outcome(NAME, error.cause)
                    if error.cause == "over_budget":
                        # A training has time: it asks again when the minute allows for it.
                        waiting.append((key, dict(self._texts)[key]))
                        pause = 0.2
                    else:
                        self.causes["failures"] += 1
                        self.causes[str(error)] += 1
            if len(unsaved) >= _KEPT_AT_ONCE:
                self._keep(unsaved)
            if time.monotonic() > said + _SAID_SECONDS:
                said = time.monotonic()
                logger.info("enriching: %d of %d texts", len(self.answers) + len(unsaved), len(self._texts))
            time.sleep(pause)
        self._keep(unsaved)
        if waiting or asked:
            given_up = self.causes["failures"] >= _GIVEN_UP
            why = "after too many failures" if given_up else "over max_seconds"
            self.causes[why] = len(waiting) + len(asked)
        del self.causes["failures"]
        self.causes = +self.causes
        return self

    def _read(self, future: Future[Completion]) -> Enrichment | None:
        try:
            found = read_enrichment(future.result(), self._params)
        except RefusedError as refused:
            count_outcome(NAME, f"refused_{refused.reason}")
            return None
        count_outcome(NAME, "answered")
        return found

    def _keep(self, unsaved: dict[str, Enrichment | None]) -> None:
        self._cache.write(unsaved)
        self.answers |= unsaved
        unsaved.clear()
