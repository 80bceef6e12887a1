"""Distillation of a text encoder into one of fewer layers, on the texts of a catalogue.

The student begins with some of the teacher's layers, evenly spaced from the first to the last (as DistilBERT
does, Sanh et al. 2019), and with its embeddings, which stay as they are. It learns to give the teacher's
vectors: the loss is one minus their cosine.
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from recserve_torch import choose_device, seeded
from torch.nn import functional

from recserve import ConfigError, FitContext, FloatArray, Int64Array
from recserve_bert.engines.torch_engine import TorchEngine, quiet
from recserve_bert.sources import TOKENIZER_FILES, Source
from recserve_bert.texts import batches, clean, unit_rows
from recserve_bert.tuning.weights import layers_of

BATCH = 32
RATE = 5e-4
MOST_HELD_OUT = 500
FEWEST_TEXTS = 20
_WARM_UP = 0.1
_WEIGHT_DECAY = 0.01
_CLIP_NORM = 1.0


def distill(
    source: Source,
    texts: Sequence[str],
    vectors: FloatArray,
    layers: int,
    epochs: int,
    directory: Path,
    context: FitContext,
) -> dict[str, Any]:
    """Train a student and write its checkpoint; see :meth:`recserve.Distills.distill`.

    Args:
        source: The teacher, with what training made of it.
        texts: n texts; equal ones are read once.
        vectors: float32, shape (n, d), unit length; the teacher's.
        layers: Of the student, fewer than the teacher's.
        epochs: How often each text is read.
        directory: Existing empty folder.
        context: Seed, threads, device, progress.

    Returns:
        Facts: the layers that were kept, the texts that were read, the size in MB, and the mean cosine to the
        teacher on a tenth of the texts, which was held out, before and after.

    Raises:
        ConfigError: The teacher has not more layers, or nothing is to be read.
    """
    distinct = np.array(
        sorted({text: row for row, text in enumerate(texts) if text}.values()), dtype=np.int64
    )
    if len(distinct) < FEWEST_TEXTS:
        raise ConfigError(f"{len(distinct)} different texts of items are too few to distill on")
    random = np.random.default_rng(context.seed)
    order = random.permutation(distinct)
    held_out, read = np.split(order, [min(MOST_HELD_OUT, len(order) // 10)])
    with seeded(context.seed, context.threads):
        engine = TorchEngine(source, str(choose_device(context.device)), "float32")
        kept = shorten(engine.model, layers)
        tokens = engine.tokenise([source.prefix + clean(text, source.max_length) for text in texts])
        student = _Student(engine, tokens, vectors)
        before = student.cosine(held_out)
        loss = student.train(read, epochs, random, context)
        after = student.cosine(held_out)
    _save(engine, source, directory)
    return {
        "teacher": source.name,
        "layers": kept,
        "texts": len(read),
        "megabytes": round((directory / "model.safetensors").stat().st_size / 1e6, 1),
        "loss": loss,
        "cosine": [round(before, 4), round(after, 4)],
    }


def shorten(model: Any, layers: int) -> list[int]:
    """Leave a model some of its layers, evenly spaced from the first to the last; which ones.

    Raises:
        ConfigError: It has not more than that.
    """
    name, every = layers_of(model)
    if not 1 <= layers < len(every):
        raise ConfigError(f"layers = {layers}: the model has {len(every)}; name from 1 to {len(every) - 1}")
    kept = np.linspace(0, len(every) - 1, layers).round().astype(int).tolist()
    model.set_submodule(name, torch.nn.ModuleList(every[layer] for layer in kept))
    model.config.num_hidden_layers = layers
    return [int(layer) for layer in kept]


class _Student:
    """A shortened model in training.

    Args:
        engine: Holds it.
        tokens: Token ids of each text.
        targets: float32, shape (n, d); the teacher's unit vectors.
    """

    def __init__(self, engine: TorchEngine, tokens: list[list[int]], targets: FloatArray) -> None:
        self._engine = engine
        self._tokens = tokens
        self._targets = targets
        # Without dropout: there is nothing to generalise over but the teacher itself.
        engine.model.eval()

    def cosine(self, rows: Int64Array) -> float:
        """Mean cosine to the teacher."""
        total = 0.0
        for part in batches([len(self._tokens[row]) for row in rows], self._engine.batch_tokens):
            chosen = rows[part]
            vectors = unit_rows(self._engine.forward([self._tokens[row] for row in chosen]))
            total += float((vectors * self._targets[chosen]).sum())
        return total / len(rows)

    def train(
        self, rows: Int64Array, epochs: int, random: np.random.Generator, context: FitContext
    ) -> list[float]:
        """Train all but the embeddings; the mean loss of each epoch."""
        model = self._engine.model
        model.requires_grad_(True)
        model.get_input_embeddings().requires_grad_(False)
        parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
        optimiser = torch.optim.AdamW(parameters, lr=RATE, weight_decay=_WEIGHT_DECAY)
        an_epoch = math.ceil(len(rows) / BATCH)
        steps = epochs * an_epoch
        warm = max(1, math.ceil(_WARM_UP * steps))
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimiser, lambda step: min((step + 1) / warm, (steps - step) / max(steps - warm, 1))
        )
        means: list[float] = []
        for epoch in range(epochs):
            order, total = random.permutation(rows), 0.0
            for step in range(an_epoch):
                chosen = order[step * BATCH : (step + 1) * BATCH]
                optimiser.zero_grad(set_to_none=True)
                vectors = self._engine.pooled([self._tokens[row] for row in chosen])
                target = torch.from_numpy(np.array(self._targets[chosen], dtype=np.float32)).to(
                    vectors.device
                )
                loss = (1 - functional.cosine_similarity(vectors, target)).mean()
                loss.backward()  # type: ignore[no-untyped-call]
                torch.nn.utils.clip_grad_norm_(parameters, _CLIP_NORM)
                optimiser.step()
                schedule.step()
                total += float(loss.detach())
                context.progress(
                    f"distilling, loss {total / (step + 1):.4f}", epoch * an_epoch + step + 1, steps
                )
            means.append(round(total / an_epoch, 5))
        return means


def _save(engine: TorchEngine, source: Source, directory: Path) -> None:
    """Write a checkpoint with the settings that were decided for the teacher."""
    with quiet():
        engine.model.save_pretrained(str(directory))
    for name in TOKENIZER_FILES:
        if (source.directory / name).is_file():
            shutil.copyfile(source.directory / name, directory / name)
    modes = {
        "pooling_mode_cls_token": source.pooling == "cls",
        "pooling_mode_mean_tokens": source.pooling == "mean",
    }
    settings: dict[str, Mapping[str, Any]] = {
        "1_Pooling/config.json": {"word_embedding_dimension": source.dimension, **modes},
        "sentence_bert_config.json": {"max_seq_length": source.max_length},
    }
    if source.prefix:
        prompts = {"prompts": {"text": source.prefix}, "default_prompt_name": "text"}
        settings["config_sentence_transformers.json"] = prompts
    for name, content in settings.items():
        (directory / name).parent.mkdir(exist_ok=True)
        (directory / name).write_text(json.dumps(content, indent=1, sort_keys=True) + "\n", encoding="utf-8")
