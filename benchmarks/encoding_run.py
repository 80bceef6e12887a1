"""Encodes what :mod:`benchmarks.encoding` prepared, with recserve or with ``sentence-transformers``.

    PYTHON -I benchmarks/encoding_run.py FOLDER

FOLDER holds ``job.json``: the library and its settings, and for each piece of work a file of texts and how
many of them go into a call (null: all). Written into it: ``times.json``, seconds on the clock and on all CPUs
for each piece of work, and ``vectors-N.npy``. Loading and the first call do not count.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

Encode = Callable[[list[str]], Any]


def with_recserve(job: dict[str, Any]) -> Encode:
    """The encoder ``bert``."""
    import torch
    from recserve_bert.encoder import BertEncoder
    from recserve_bert.parameters import BertParams

    torch.set_num_threads(job["threads"])
    cache = None if job["cache"] is None else Path(job["cache"])
    encoder = BertEncoder(BertParams(model=job["model"], engine=job["engine"], device="cpu", cache=cache))
    return encoder.encode


def with_sentence_transformers(job: dict[str, Any]) -> Encode:
    """``encode()`` as it comes."""
    import torch
    from sentence_transformers import SentenceTransformer

    torch.set_num_threads(job["threads"])
    model = SentenceTransformer(job["directory"], device="cpu")

    def encode(texts: list[str]) -> Any:
        return model.encode(texts, normalize_embeddings=True, show_progress_bar=False)

    return encode


LIBRARIES = {"recserve": with_recserve, "sentence-transformers": with_sentence_transformers}


def main() -> None:
    """Do the job of the folder that is named on the command line."""
    folder = Path(sys.argv[1])
    job = json.loads((folder / "job.json").read_text(encoding="utf-8"))
    encode = LIBRARIES[job["library"]](job)
    encode(["the first call loads what is loaded late"] * 40)
    times = []
    for number, work in enumerate(job["work"]):
        texts = json.loads(Path(work["texts"]).read_text(encoding="utf-8"))
        size = work["call"] or len(texts)
        calls = [texts[start : start + size] for start in range(0, len(texts), size)]
        started, busy = time.perf_counter(), time.process_time()
        vectors = [encode(call) for call in calls]
        times.append((time.perf_counter() - started, time.process_time() - busy))
        np.save(folder / f"vectors-{number}.npy", np.concatenate(vectors))
    (folder / "times.json").write_text(json.dumps(times), encoding="utf-8")


if __name__ == "__main__":
    main()
