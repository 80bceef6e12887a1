"""Parameters of ``bert_sequence``, validated by pydantic."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from recserve import NoParams, search


class BertSequenceParams(NoParams):
    """Parameters of the ranker and the retriever ``bert_sequence``."""

    layers: int = Field(
        1, ge=1, le=8, description="Layers of the LSTM.", json_schema_extra=search(choices=[1, 2])
    )
    width: int = Field(
        128,
        ge=1,
        le=1024,
        description="Units of each layer of the LSTM, and length of projected text vectors.",
        json_schema_extra=search(choices=[64, 128, 256]),
    )
    window: int = Field(
        50,
        ge=1,
        le=1000,
        description="Newest events of a user that are read.",
        json_schema_extra=search(choices=[20, 50, 100]),
    )
    loss: Literal["softmax", "bce"] = Field(
        "softmax",
        description="`softmax`: the next item against a sample of others, corrected for how it was drawn. "
        "`bce`: binary cross-entropy of the next item and of the sampled others, each by itself.",
    )
    negatives: int = Field(
        1024,
        ge=1,
        description="Items drawn for each batch; a smaller catalogue is read whole.",
        json_schema_extra=search(low=64, high=4096, log=True),
    )
    dropout: float = Field(
        0.2,
        ge=0,
        lt=1,
        description="Dropout of what the LSTM reads and of what the fully connected layer reads.",
        json_schema_extra=search(low=0.0, high=0.6),
    )
    epochs: int = Field(
        20,
        ge=1,
        le=1000,
        description="Epochs over which the learning rate falls to nothing; early stopping may end sooner.",
    )
    patience: int = Field(
        4, ge=1, description="Epochs without a better validation nDCG@10 after which training stops."
    )
    learning_rate: float = Field(0.003, gt=0, json_schema_extra=search(low=3e-4, high=0.02, log=True))
    weight_decay: float = Field(0.01, ge=0, json_schema_extra=search(low=1e-4, high=0.3, log=True))
    batch_events: int = Field(
        3200,
        ge=1,
        description="Padded events in a batch.",
        json_schema_extra=search(choices=[1600, 3200, 6400]),
    )
    end_to_end: bool = Field(
        False,
        description="Train BERT with the network: gradients of this model's loss reach the part of the text "
        "encoder that `encoder.params.tune` names, in place of that encoder's own training. The bundle keeps "
        "the encoder's weights, and everything that reads texts reads these vectors.",
    )
    text_weight: float = Field(
        10.0, ge=0, description="Weight of the cosine to a request's free text, beside the learnt preference."
    )
