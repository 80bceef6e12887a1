"""``recserve distill``: a smaller text encoder that gives the vectors of the current bundle's."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from recserve.cli.common import DEFAULT_HOME, ConfigOption, HomeOption, State, out, progress_display
from recserve.errors import ConfigError


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command("distill")(distill_command)


def distill_command(
    folder: Annotated[Path, typer.Option("--out", help="Folder of the checkpoint; new or empty.")],
    layers: Annotated[int, typer.Option("--layers", min=1, help="Layers of the smaller encoder.")] = 3,
    epochs: Annotated[int, typer.Option("--epochs", min=1, help="How often each item's text is read.")] = 3,
    home: HomeOption = DEFAULT_HOME,
    config: ConfigOption = None,
) -> None:
    """Distill the text encoder: fewer layers, begun with its own, that give the vectors it gives.

    The teacher is the encoder of the current bundle, with what training on behaviour made of it; the texts
    are those of the bundle's items. Name the folder as `encoder.model` and train again to use the result.
    """
    from recserve.bundles.catalogue_vectors import item_texts
    from recserve.plugin.protocols import Distills
    from recserve.serving.loader import Loader
    from recserve.training.fitting import fit_context

    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigError(f"--out {folder}: there is something already; name a new or an empty folder")
    state = State(home, config)
    with state.store:
        bundle = state.current_bundle()
    encoder, vectors = Loader(bundle, state.resolved).encoder(), bundle.catalogue.vectors
    if encoder is None or vectors is None:
        raise ConfigError(f"bundle {bundle.id} has no text encoder to distill; set 'encoder' and train")
    if not isinstance(encoder, Distills):
        raise ConfigError("the text encoder of this bundle cannot teach a smaller one", field="encoder")
    texts = item_texts(state.resolved, bundle.catalogue)
    folder.mkdir(parents=True, exist_ok=True)
    with progress_display() as progress:
        context = fit_context(state.config, progress)
        facts = encoder.distill(texts, vectors, layers, epochs, folder, context)
        progress.finish()
    for name, value in facts.items():
        out.print(f"{name}: {value}")
    out.print(f"set encoder.model to {folder.resolve()} and train again", soft_wrap=True)
