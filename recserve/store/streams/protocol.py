"""Store protocol of streams: changes in the order of their numbers, and the positions of who follows them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, Protocol

from recserve.store.records import Exposure

StreamKind = Literal["exposures", "events", "items", "users"]
"""What is followed: exposures and events that were stored, items and users that were deleted."""

StreamPosition = Mapping[StreamKind, int]
"""Number of the last change that was passed on, of each kind."""


class StreamStore(Protocol):
    """Reads by number, each of which leaves nothing out that was stored before it."""

    def exposures_after(self, seq: int, limit: int) -> tuple[list[tuple[int, Exposure]], int]:
        """Exposures stored after number ``seq``, in the order of their numbers.

        A number is only given out once every lower one is visible. Exposures that were removed meanwhile,
        such as those of a deleted user, are left out.

        Returns:
            At most ``limit`` exposures with their numbers, and the number to go on from, which is ``seq``
            itself when there is nothing new.
        """
        ...

    def deleted_items(self, version: int, limit: int) -> tuple[list[tuple[int, str]], int]:
        """Items that were deleted after a version of the catalogue, and have not come back.

        Args:
            version: The catalogue version.
            limit: At most this many, but always all that were deleted in one transaction.

        Returns:
            Version of the deletion and id of each, in the order of (version, id), and the version to go on
            from.
        """
        ...

    def newest_numbers(self) -> dict[StreamKind, int]:
        """Where a stream stands that passes on only what comes from now on."""
        ...

    def stream_position(self, name: str) -> dict[StreamKind, int]:
        """How far a stream has come, by kind; kinds of which nothing was passed on yet are left out."""
        ...

    def move_stream(self, name: str, position: StreamPosition) -> None:
        """Note durably how far a stream has come; no kind goes back, whoever was slower."""
        ...
