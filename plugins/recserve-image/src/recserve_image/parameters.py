"""Parameters of the plugin's components, validated by pydantic."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class PictureParams(BaseModel):
    """Parameters of the item encoder ``picture``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    folder: str = Field(description="Folder that the pictures are in; nothing outside of it is read.")
    attribute: str = Field(
        "image", min_length=1, description="Attribute with the path of the picture, relative to the folder."
    )
    max_bytes: int = Field(20_000_000, ge=1, description="Larger files are left out.")
    max_pixels: int = Field(50_000_000, ge=1, description="Pictures of more pixels are left out undecoded.")
