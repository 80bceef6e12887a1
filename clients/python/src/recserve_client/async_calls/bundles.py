"""Calls about bundles.

Generated from the OpenAPI document by ``python -m tools.clients``; do not edit.
"""

from __future__ import annotations

from recserve_client.answers import BundleDetails, Bundles, ComparisonOfBundles, Promoted
from recserve_client.core.sending import AsyncSender, Call


class BundlesCalls(AsyncSender):
    """Calls about bundles."""

    async def list_bundles(self, *, limit: int | None = None) -> Bundles:
        """List bundles.

        The newest ones, which of them is to be served, and the newest promotions: who, when, why
        and by which figures.

        Args:
            limit: Most bundles, and most promotions. Default: 50.
        """
        return await self._send(Call("GET", "/v1/bundles", Bundles, repeatable=True, query={"limit": limit}))

    async def compare_bundles(self, *, a: str, b: str) -> ComparisonOfBundles:
        """Compare two bundles.

        What training measured of each, their difference over the same users where there is one, and
        what differs in what made them. Nothing is fitted for it; what users did with each is in the
        report of outcomes by `bundle`.

        Args:
            a: A bundle's id.
            b: Another one's.
        """
        return await self._send(
            Call("GET", "/v1/bundles/compare", ComparisonOfBundles, repeatable=True, query={"a": a, "b": b})
        )

    async def roll_back_bundle(self, *, reason: str | None = None) -> Promoted:
        """Roll back.

        Makes the bundle that was current before this one current again. A second rollback returns
        to where the first one came from. Needs the scope `admin`.

        Args:
            reason: Why; kept in the history of promotions.
        """
        return await self._send(
            Call("POST", "/v1/bundles/rollback", Promoted, repeatable=False, body={"reason": reason})
        )

    async def bundle(self, bundle_id: str) -> BundleDetails:
        """One bundle.

        What made it, what training measured of it, and when it was current.

        Args:
            bundle_id: The bundle's id.
        """
        return await self._send(
            Call("GET", Call.path("/v1/bundles/{bundle_id}", bundle_id), BundleDetails, repeatable=True)
        )

    async def bundle_report(self, bundle_id: str) -> str:
        """A bundle's offline report.

        A page without scripts that shows what training measured. It is kept where the bundle was
        trained, in the home folder.

        Args:
            bundle_id: The bundle's id.
        """
        return await self._send(
            Call("GET", Call.path("/v1/bundles/{bundle_id}/report", bundle_id), str, repeatable=True)
        )

    async def promote_bundle(
        self, bundle_id: str, *, reason: str | None = None, force: bool | None = None
    ) -> Promoted:
        """Promote a bundle.

        Makes it current, unless the evidence speaks against it: what training measured of both
        bundles on the same data, what chance has shown since, and experiments. Servers follow
        within seconds. Nothing is fitted for it: where the two were not measured on the same data
        the answer is 409 with the code `not_measured`. Needs the scope `admin`.

        Args:
            bundle_id: The bundle's id.
            reason: Why; kept in the history of promotions.
            force: Promote whatever the evidence says; needs a `reason`. Default: false.
        """
        return await self._send(
            Call(
                "POST",
                Call.path("/v1/bundles/{bundle_id}/promote", bundle_id),
                Promoted,
                repeatable=False,
                body={"reason": reason, "force": force},
            )
        )
