"""User states by NumPy: what the network says of the last event, without torch's small steps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from recserve_sequence.network import DECAYS
from recserve_sequence.windows import Padded

from recserve import FloatArray, Int64Array
from recserve_transformer.relative import RECENT, distance_classes, time_classes, visible

_BLOCK = 32  # sequences at once: what they need stays in the processor's cache
_EPSILON = 1e-5  # of torch's LayerNorm


@dataclass(frozen=True, slots=True)
class _Weights:
    """Weights of a network below one name.

    Attributes:
        arrays: All weights by name.
        prefix: The name, with a dot at its end unless empty.
    """

    arrays: Mapping[str, FloatArray]
    prefix: str = ""

    def linear(self, name: str, values: FloatArray) -> FloatArray:
        """A linear layer."""
        found: FloatArray = values @ self.arrays[f"{self.prefix}{name}.weight"].T
        bias = self.arrays.get(f"{self.prefix}{name}.bias")
        return found if bias is None else found + bias

    def norm(self, name: str, values: FloatArray) -> FloatArray:
        """Layer normalisation."""
        centred = values - values.mean(axis=-1, keepdims=True)
        scale = 1.0 / np.sqrt((centred * centred).mean(axis=-1, keepdims=True) + np.float32(_EPSILON))
        scaled: FloatArray = centred * scale
        return scaled * self.arrays[f"{self.prefix}{name}.weight"] + self.arrays[f"{self.prefix}{name}.bias"]


class NumpyReader:
    """User states by NumPy: see :class:`recserve_sequence.network.PlainReader`.

    Args:
        weights: Of :class:`recserve_transformer.network.TransformerNetwork` by name, float32.
        blocks: Of attention.
        heads: Of each block.
    """

    def __init__(self, weights: Mapping[str, FloatArray], blocks: int, heads: int) -> None:
        self._all = _Weights(weights)
        self._blocks = [_Weights(weights, f"blocks.{number}.") for number in range(blocks)]
        self._heads = heads

    def suits(self, sequences: int) -> bool:
        """Any number of them."""
        return True

    def __call__(self, matrix: FloatArray, sequences: Padded) -> FloatArray:
        """User states after the last event of each sequence, zeros where it is empty."""
        states = np.zeros((len(sequences.items), matrix.shape[1]), dtype=np.float32)
        filled = np.flatnonzero(sequences.lengths)
        # Sequences of similar length share a block, so that little is spent on pads.
        order = filled[np.argsort(sequences.lengths[filled], kind="stable")]
        for begin in range(0, len(order), _BLOCK):
            chosen = order[begin : begin + _BLOCK]
            part = sequences.select(chosen)
            states[chosen] = self._attended(matrix, part) + self._taste(matrix, part)
        return states

    def _attended(self, matrix: FloatArray, sequences: Padded) -> FloatArray:
        """What attention says, shape (B, width); see ``TransformerNetwork.last_states``."""
        recent = sequences.newest(RECENT)
        stream = self._read(matrix[np.maximum(recent.items, 0)], recent)
        last = recent.lengths[:, None] - 1
        if len(self._blocks) > 1:
            bias = self._bias(recent.times, np.arange(recent.items.shape[1])[None])
            for block in self._blocks[:-1]:
                stream = self._block(block, stream, stream, bias)
        asked = np.take_along_axis(stream, last[..., None], axis=1)
        asked = self._block(self._blocks[-1], stream, asked, self._bias(recent.times, last))
        return self._all.linear("output", self._all.norm("output_norm", asked[:, 0]))

    def _read(self, vectors: FloatArray, sequences: Padded) -> FloatArray:
        """See ``SequenceNetwork.read``."""
        kinds = self._all.arrays["event_types.weight"]
        strengths: FloatArray = np.clip(sequences.weights, np.float32(-5.0), np.float32(5.0))
        read = self._all.norm("norm", vectors)
        read += kinds[np.clip(sequences.events, 0, len(kinds) - 1)]
        read += self._all.arrays["gaps.weight"][sequences.gaps]
        read += self._all.linear("confidence", strengths[..., None])
        return read

    def _bias(self, times: Int64Array, asked: Int64Array) -> FloatArray:
        """See ``RelativeBias``; float32, shape (B, heads, Q, L)."""
        length = times.shape[1]
        distance = self._all.arrays["bias.distance"][:, distance_classes(asked, length)]
        distance[:, ~visible(asked, length)] = -np.inf
        bias: FloatArray = distance + self._all.arrays["bias.time"][:, time_classes(times, asked)]
        return bias.swapaxes(0, 1)

    def _block(
        self, weights: _Weights, stream: FloatArray, asked: FloatArray, bias: FloatArray
    ) -> FloatArray:
        """See ``Block.forward``."""
        width = stream.shape[-1]
        both = weights.linear("key_value", weights.norm("attention_norm", stream))
        queries = self._split(weights.linear("query", weights.norm("attention_norm", asked)))
        keys, values = self._split(both[..., :width]), self._split(both[..., width:])
        queries *= np.float32(1.0 / np.sqrt(queries.shape[-1]))
        scores: FloatArray = queries @ keys.swapaxes(-1, -2)
        scores += bias
        scores -= scores.max(axis=-1, keepdims=True)
        np.exp(scores, out=scores)
        scores /= scores.sum(axis=-1, keepdims=True)
        mixed: FloatArray = (scores @ values).swapaxes(1, 2).reshape(asked.shape)
        asked = asked + _sigmoid(weights.linear("attention_gate", asked)) * weights.linear("attended", mixed)
        hidden = weights.linear("hidden", weights.norm("forward_norm", asked))
        opened, carried = hidden[..., : hidden.shape[-1] // 2], hidden[..., hidden.shape[-1] // 2 :]
        found = weights.linear("shrunk", opened * _sigmoid(opened) * carried)
        return asked + _sigmoid(weights.linear("forward_gate", asked)) * found

    def _split(self, values: FloatArray) -> FloatArray:
        """(B, L, width) by heads: (B, heads, L, width / heads)."""
        return values.reshape(*values.shape[:2], self._heads, -1).swapaxes(1, 2)

    def _taste(self, matrix: FloatArray, sequences: Padded) -> FloatArray:
        """See ``Taste.last``; shape (B, width)."""
        ago = np.maximum(sequences.lengths[:, None] - 1 - np.arange(sequences.items.shape[1]), 0)
        decays = np.array(DECAYS, dtype=np.float32)[:, None]
        faded = (decays ** ago[:, None, :]).astype(np.float32)
        liked: FloatArray = np.where((sequences.weights > 0)[:, None, :], faded, np.float32(0))
        sums = liked @ matrix[np.maximum(sequences.items, 0)]
        counts = liked.sum(axis=2, keepdims=True)
        means = sums / np.where(counts > 0, counts, np.float32(1))
        taste: FloatArray = (means * self._all.arrays["taste.scale"]).sum(axis=1)
        return taste


def _sigmoid(values: FloatArray) -> FloatArray:
    """The logistic function, by a hyperbolic tangent, which does not overflow."""
    half: FloatArray = np.tanh(np.float32(0.5) * values)
    return np.float32(0.5) + np.float32(0.5) * half
