"""Names of columns, each once."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Sequence

from recserve.errors import DataError
from recserve.store.ingest.problems import quoted

UNNAMED = re.compile(r"|Unnamed: [0-9]+|__index_level_[0-9]+__")
"""Names of columns that have none: spreadsheets leave empty ones behind, and pandas writes its index so."""


def distinct_names(names: Sequence[str], file: str, wanted: Collection[str] | None = None) -> list[str]:
    """The names of a header, made distinct where nobody asks for the column.

    A column without a name is called after its place, as pandas calls it.

    Args:
        names: As they stand in the file.
        file: Path of the file.
        wanted: Columns that are read; None for all that have a name.

    Raises:
        DataError: Two columns that are read have the same name.
    """
    named = [name or f"Unnamed: {place}" for place, name in enumerate(names)]
    for name, count in Counter(name for name in names if name).items():
        if count > 1 and (wanted is None or name in wanted):
            raise DataError(f"{file} has two columns called {quoted(name)}", field=name)
    seen: Counter[str] = Counter()
    for place, name in enumerate(named):
        seen[name] += 1
        if seen[name] > 1:
            named[place] = f"{name} ({seen[name]})"
    return named
