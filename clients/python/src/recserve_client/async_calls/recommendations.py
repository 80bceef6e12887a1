"""Calls about recommendations.

Generated from the OpenAPI document by ``python -m tools.clients``; do not edit.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Literal

from recserve_client.answers import Page, Rank, RecommendedItem
from recserve_client.core.sending import AsyncSender, Call
from recserve_client.params import SessionStepParam


class RecommendationsCalls(AsyncSender):
    """Calls about recommendations."""

    async def recommend(
        self,
        *,
        scenario: str | None = None,
        filter: Mapping[str, Any] | None = None,
        rules: Mapping[str, Any] | None = None,
        context: Mapping[str, Any] | None = None,
        explain: bool | None = None,
        language: str | None = None,
        session_id: str | None = None,
        n: int | None = None,
        exclude: Sequence[str] | None = None,
        seen: Literal["exclude", "decay", "allow"] | None = None,
        details: bool | None = None,
        preview: bool | None = None,
        bundle: str | None = None,
        cursor: str | None = None,
        user_id: str | None = None,
        session: Sequence[str | SessionStepParam] | None = None,
        query: str | None = None,
        item_id: str | None = None,
    ) -> Page:
        """Recommend items.

        For a user, a session, an item, free text, or any combination; with none of them, what is
        popular. If a part of the server is down the answer is less personal and `degraded` says so.
        `cursor` of the answer, sent with the same body, asks for the next page; pages repeat no
        item.

        Args:
            scenario: A configured pipeline; default: the server's.
            filter: Name of a filter of the scenario -> its argument.
            rules: Name of a reranker of the scenario -> parameters for this request, which replace
                the configured ones.
            context: Anything that a plugin of the scenario reads, such as device and place.
                Strings, numbers and booleans are stored with what was shown, for rankers to learn
                from.
            explain: Say in words why each item is recommended. Default: true.
            language: Language of explanations, such as en or zh; default: the scenario's.
            session_id: Stands for a visitor without `user_id` where experiments assign arms;
                changes nothing else.
            n: How many items. Default: 10.
            exclude: Item ids never to return.
            seen: Items of the user's history: never, lower the more recent, or as good as any;
                default: the scenario's policy.
            details: Say of each item which retriever proposed it in which place with which score,
                and which item of the history led to it. Default: false.
            preview: Shown to nobody, as while somebody looks around: the answer is not logged,
                counts as no impression, and takes no part in experiments. Default: false.
            bundle: Answer by this bundle, not the current one; for previews alone. It must be
                loaded, as the one before the current one and those of running experiments are.
            cursor: From an earlier answer to the same request: its next page.
            user_id: A user; one that is not known yet is welcome.
            session: What the visitor did just now: item ids or steps, in any order of time.
            query: Free text in any language; the first 4,000 characters count.
            item_id: Items similar to this one.
        """
        return await self._send(
            Call(
                "POST",
                "/v1/recommend",
                Page,
                repeatable=True,
                body={
                    "scenario": scenario,
                    "filter": filter,
                    "rules": rules,
                    "context": context,
                    "explain": explain,
                    "language": language,
                    "session_id": session_id,
                    "n": n,
                    "exclude": exclude,
                    "seen": seen,
                    "details": details,
                    "preview": preview,
                    "bundle": bundle,
                    "cursor": cursor,
                    "user_id": user_id,
                    "session": session,
                    "query": query,
                    "item_id": item_id,
                },
            )
        )

    async def iter_recommend(
        self,
        *,
        scenario: str | None = None,
        filter: Mapping[str, Any] | None = None,
        rules: Mapping[str, Any] | None = None,
        context: Mapping[str, Any] | None = None,
        explain: bool | None = None,
        language: str | None = None,
        session_id: str | None = None,
        n: int | None = None,
        exclude: Sequence[str] | None = None,
        seen: Literal["exclude", "decay", "allow"] | None = None,
        details: bool | None = None,
        preview: bool | None = None,
        bundle: str | None = None,
        user_id: str | None = None,
        session: Sequence[str | SessionStepParam] | None = None,
        query: str | None = None,
        item_id: str | None = None,
    ) -> AsyncIterator[RecommendedItem]:
        """Recommend items, page by page.

        Asks for a page when it is needed; see :meth:`recommend`.
        """
        cursor: str | None = None
        while True:
            page = await self.recommend(
                scenario=scenario,
                filter=filter,
                rules=rules,
                context=context,
                explain=explain,
                language=language,
                session_id=session_id,
                n=n,
                exclude=exclude,
                seen=seen,
                details=details,
                preview=preview,
                bundle=bundle,
                user_id=user_id,
                session=session,
                query=query,
                item_id=item_id,
                cursor=cursor,
            )
            for entry in page.items:
                yield entry
            if page.cursor is None:
                return
            cursor = page.cursor

    async def recommend_to_user(
        self,
        user_id: str,
        *,
        n: int | None = None,
        scenario: str | None = None,
        query: str | None = None,
        cursor: str | None = None,
        explain: bool | None = None,
        language: str | None = None,
    ) -> Page:
        """Recommend items to a user.

        The same by URL alone, for browsers and links. `cursor` is null where it would be too long
        for one.

        Args:
            user_id: As it is; the client encodes it.
            n: How many items. Default: 10.
            scenario: A configured pipeline; default: the server's.
            query: Free text in any language.
            cursor: From an earlier answer to the same request: its next page.
            explain: Say in words why each item is recommended. Default: true.
            language: Language of explanations, such as zh.
        """
        return await self._send(
            Call(
                "GET",
                Call.path("/v1/recommend/{user_id}", user_id),
                Page,
                repeatable=True,
                query={
                    "n": n,
                    "scenario": scenario,
                    "query": query,
                    "cursor": cursor,
                    "explain": explain,
                    "language": language,
                },
            )
        )

    async def iter_recommend_to_user(
        self,
        user_id: str,
        *,
        n: int | None = None,
        scenario: str | None = None,
        query: str | None = None,
        explain: bool | None = None,
        language: str | None = None,
    ) -> AsyncIterator[RecommendedItem]:
        """Recommend items to a user, page by page.

        Asks for a page when it is needed; see :meth:`recommend_to_user`.
        """
        cursor: str | None = None
        while True:
            page = await self.recommend_to_user(
                user_id,
                n=n,
                scenario=scenario,
                query=query,
                explain=explain,
                language=language,
                cursor=cursor,
            )
            for entry in page.items:
                yield entry
            if page.cursor is None:
                return
            cursor = page.cursor

    async def similar(
        self,
        item_id: str,
        *,
        scenario: str | None = None,
        filter: Mapping[str, Any] | None = None,
        rules: Mapping[str, Any] | None = None,
        context: Mapping[str, Any] | None = None,
        explain: bool | None = None,
        language: str | None = None,
        session_id: str | None = None,
        n: int | None = None,
        exclude: Sequence[str] | None = None,
        seen: Literal["exclude", "decay", "allow"] | None = None,
        details: bool | None = None,
        preview: bool | None = None,
        bundle: str | None = None,
        cursor: str | None = None,
        user_id: str | None = None,
    ) -> Page:
        """Similar items.

        Served by the scenario called `similar` if there is one, else by the default one.

        Args:
            item_id: The item.
            scenario: A configured pipeline; default: the server's.
            filter: Name of a filter of the scenario -> its argument.
            rules: Name of a reranker of the scenario -> parameters for this request, which replace
                the configured ones.
            context: Anything that a plugin of the scenario reads, such as device and place.
                Strings, numbers and booleans are stored with what was shown, for rankers to learn
                from.
            explain: Say in words why each item is recommended. Default: true.
            language: Language of explanations, such as en or zh; default: the scenario's.
            session_id: Stands for a visitor without `user_id` where experiments assign arms;
                changes nothing else.
            n: How many items. Default: 10.
            exclude: Item ids never to return.
            seen: Items of the user's history: never, lower the more recent, or as good as any;
                default: the scenario's policy.
            details: Say of each item which retriever proposed it in which place with which score,
                and which item of the history led to it. Default: false.
            preview: Shown to nobody, as while somebody looks around: the answer is not logged,
                counts as no impression, and takes no part in experiments. Default: false.
            bundle: Answer by this bundle, not the current one; for previews alone. It must be
                loaded, as the one before the current one and those of running experiments are.
            cursor: From an earlier answer to the same request: its next page.
            user_id: Makes the choice among similar items personal.
        """
        return await self._send(
            Call(
                "POST",
                "/v1/similar",
                Page,
                repeatable=True,
                body={
                    "scenario": scenario,
                    "filter": filter,
                    "rules": rules,
                    "context": context,
                    "explain": explain,
                    "language": language,
                    "session_id": session_id,
                    "n": n,
                    "exclude": exclude,
                    "seen": seen,
                    "details": details,
                    "preview": preview,
                    "bundle": bundle,
                    "cursor": cursor,
                    "item_id": item_id,
                    "user_id": user_id,
                },
            )
        )

    async def iter_similar(
        self,
        item_id: str,
        *,
        scenario: str | None = None,
        filter: Mapping[str, Any] | None = None,
        rules: Mapping[str, Any] | None = None,
        context: Mapping[str, Any] | None = None,
        explain: bool | None = None,
        language: str | None = None,
        session_id: str | None = None,
        n: int | None = None,
        exclude: Sequence[str] | None = None,
        seen: Literal["exclude", "decay", "allow"] | None = None,
        details: bool | None = None,
        preview: bool | None = None,
        bundle: str | None = None,
        user_id: str | None = None,
    ) -> AsyncIterator[RecommendedItem]:
        """Similar items, page by page.

        Asks for a page when it is needed; see :meth:`similar`.
        """
        cursor: str | None = None
        while True:
            page = await self.similar(
                item_id,
                scenario=scenario,
                filter=filter,
                rules=rules,
                context=context,
                explain=explain,
                language=language,
                session_id=session_id,
                n=n,
                exclude=exclude,
                seen=seen,
                details=details,
                preview=preview,
                bundle=bundle,
                user_id=user_id,
                cursor=cursor,
            )
            for entry in page.items:
                yield entry
            if page.cursor is None:
                return
            cursor = page.cursor

    async def rank(
        self,
        items: Sequence[str],
        *,
        scenario: str | None = None,
        filter: Mapping[str, Any] | None = None,
        rules: Mapping[str, Any] | None = None,
        context: Mapping[str, Any] | None = None,
        explain: bool | None = None,
        language: str | None = None,
        session_id: str | None = None,
        user_id: str | None = None,
        session: Sequence[str | SessionStepParam] | None = None,
        query: str | None = None,
        n: int | None = None,
        seen: Literal["exclude", "decay", "allow"] | None = None,
    ) -> Rank:
        """Rank items.

        Puts the caller's own list in order for a user, a session or free text, with the scenario's
        ranker, filters and rerankers. What may not be returned is in `left_out`.

        Args:
            items: Item ids in any order; of equal ones the first counts.
            scenario: A configured pipeline; default: the server's.
            filter: Name of a filter of the scenario -> its argument.
            rules: Name of a reranker of the scenario -> parameters for this request, which replace
                the configured ones.
            context: Anything that a plugin of the scenario reads, such as device and place.
                Strings, numbers and booleans are stored with what was shown, for rankers to learn
                from.
            explain: Say in words why each item is recommended. Default: true.
            language: Language of explanations, such as en or zh; default: the scenario's.
            session_id: Stands for a visitor without `user_id` where experiments assign arms;
                changes nothing else.
            user_id: A user; one that is not known yet is welcome.
            session: What the visitor did just now: item ids or steps, in any order of time.
            query: Free text in any language; the first 4,000 characters count.
            n: How many of them to return; default: all.
            seen: Items of the user's history: never, lower the more recent, or as good as any.
                Default: allow.
        """
        return await self._send(
            Call(
                "POST",
                "/v1/rank",
                Rank,
                repeatable=True,
                body={
                    "scenario": scenario,
                    "filter": filter,
                    "rules": rules,
                    "context": context,
                    "explain": explain,
                    "language": language,
                    "session_id": session_id,
                    "user_id": user_id,
                    "session": session,
                    "query": query,
                    "items": items,
                    "n": n,
                    "seen": seen,
                },
            )
        )
