"""Parameters of the plugin's components, validated by pydantic."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, model_validator


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class MovieLensParams(_Strict):
    """Where a MovieLens release comes from: a folder, or a download with its checksum."""

    path: Path | None = Field(None, description="Folder with the files of a release, in its official format.")
    url: str | None = Field(None, pattern=r"^https?://", description="Zip file of a release.")
    sha256: str | None = Field(
        None, pattern=r"^[0-9a-f]{64}$", description="Checksum of the zip file, hexadecimal."
    )
    cache: Path | None = Field(
        None, description="Where downloads are kept; default: the user's cache folder."
    )

    @model_validator(mode="after")
    def _one_origin(self) -> MovieLensParams:
        if (self.path is None) == (self.url is None):
            raise ValueError("give either 'path', or 'url' with 'sha256'")
        if (self.url is None) != (self.sha256 is None):
            raise ValueError("'url' and 'sha256' go together: a download is only used if it is the right one")
        return self


class GenreChoice(_Strict):
    """Argument of the filter ``genre`` that also says what not to return."""

    any: tuple[str, ...] = Field((), description="At least one of these, unless empty.")
    none: tuple[str, ...] = Field((), description="None of these.")


GenreArgument = str | Annotated[list[str], Field(min_length=1)] | GenreChoice
"""One genre, a list of which at least one must match, or ``{any: [...], none: [...]}``."""
