"""Causal language model through transformers: greedy decoding, by a schema where one is given."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import llguidance
import llguidance.hf
import llguidance.numpy
import numpy as np
import torch
import transformers

from recserve_llm.local.generated import Generated, PromptError, StoppedError
from recserve_llm.local.weights import Weights

MOST_PROMPT_TOKENS = 2_000


class LocalModel:
    """A causal language model in this process. Not safe to use from several threads.

    Args:
        weights: Its weights; those of a GGUF file are expanded to float32.
        threads: Threads of torch.
    """

    def __init__(self, weights: Weights, threads: int = 1) -> None:
        torch.set_num_threads(threads)
        transformers.utils.logging.disable_progress_bar()
        options: dict[str, Any] = {} if weights.gguf is None else {"gguf_file": weights.gguf}
        folder = str(weights.folder)
        self._tokenizer: Any = transformers.AutoTokenizer.from_pretrained(
            folder, local_files_only=True, **options
        )
        self._model: Any = transformers.AutoModelForCausalLM.from_pretrained(
            folder, dtype=torch.float32, local_files_only=True, **options
        )
        self._model.eval()
        self._vocabulary = int(self._model.config.vocab_size)
        self._guide = llguidance.hf.from_tokenizer(self._tokenizer, n_vocab=self._vocabulary)
        self._ends = _ends(self._tokenizer, self._model)

    @torch.inference_mode()
    def generate(
        self,
        messages: Sequence[Mapping[str, str]],
        *,
        max_tokens: int,
        schema: Mapping[str, Any] | None = None,
        top_logprobs: int = 0,
        seconds: float = 60.0,
        wanted: Callable[[], bool] = lambda: True,
    ) -> Generated:
        """Answer a conversation.

        Args:
            messages: Messages with ``role`` and ``content``.
            max_tokens: Longest answer.
            schema: JSON schema that the answer follows.
            top_logprobs: Most probable first tokens to tell.
            seconds: Longest time.
            wanted: Asked at each token whether anybody still waits.

        Raises:
            PromptError: The prompt is too long, or the schema cannot be followed.
            StoppedError: The time is over, or nobody waits.
        """
        end = time.monotonic() + seconds
        matcher = self._matcher(schema)
        prompt = self._tokenizer.apply_chat_template(
            list(messages), add_generation_prompt=True, return_tensors="pt", return_dict=True
        )["input_ids"]
        if prompt.shape[1] > MOST_PROMPT_TOKENS:
            raise PromptError(f"the prompt has {prompt.shape[1]} tokens, more than {MOST_PROMPT_TOKENS}")
        given, memory, written = prompt, None, []
        first_tokens: list[tuple[str, float]] = []
        for place in range(max_tokens):
            if time.monotonic() > end or not wanted():
                raise StoppedError
            out = self._model(input_ids=given, past_key_values=memory, use_cache=True, logits_to_keep=1)
            memory, logits = out.past_key_values, out.logits[:, -1, :]
            if place == 0 and top_logprobs:
                first_tokens = self._most_probable(logits[0], top_logprobs)
            if matcher is not None:
                logits[0, ~self._allowed(matcher)] = -torch.inf
            token = int(logits[0].argmax())
            if token in self._ends:
                break
            written.append(token)
            if matcher is not None:
                matcher.consume_token(token)
                if matcher.is_stopped():
                    break
            given = torch.tensor([[token]])
        text: str = self._tokenizer.decode(written, skip_special_tokens=True)
        return Generated(text, len(written) == max_tokens, prompt.shape[1], len(written), first_tokens)

    def _matcher(self, schema: Mapping[str, Any] | None) -> Any:
        if schema is None:
            return None
        grammar = llguidance.LLMatcher.grammar_from_json_schema(json.dumps(dict(schema)))
        matcher = llguidance.LLMatcher(self._guide, grammar)
        if matcher.is_error():
            raise PromptError(f"the schema cannot be followed: {matcher.get_error()[:200]}")
        return matcher

    def _allowed(self, matcher: Any) -> torch.Tensor:
        """Tokens that may come next, bool, shape (vocabulary,)."""
        # Not the library's own masking, which compiles a kernel at its first use.
        words = llguidance.numpy.allocate_token_bitmask(1, self._vocabulary)
        llguidance.numpy.fill_next_token_bitmask(matcher, words, 0)
        bits = np.unpackbits(words[0].view(np.uint8), bitorder="little")[: self._vocabulary]
        return torch.from_numpy(bits.astype(np.bool_))

    def _most_probable(self, logits: torch.Tensor, count: int) -> list[tuple[str, float]]:
        values, tokens = logits.log_softmax(-1).topk(count)
        return [
            (self._tokenizer.decode([token]), value)
            for token, value in zip(tokens.tolist(), values.tolist(), strict=True)
        ]


def _ends(tokenizer: Any, model: Any) -> frozenset[int]:
    """Tokens that end an answer."""
    ends = model.generation_config.eos_token_id
    listed = ends if isinstance(ends, list) else [ends]
    turn = tokenizer.convert_tokens_to_ids("<|im_end|>")
    return frozenset(token for token in (*listed, tokenizer.eos_token_id, turn) if isinstance(token, int))
