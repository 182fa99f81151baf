"""How the last layer of a fine-tuned network becomes the outputs of a specialist.

Mostly the layer sits on the embedding and gives them itself. Where answers are spans, it gives each
token two logits, and the outputs are the most probable spans.

Suffixes: N samples, D embedding dimension, C outputs, V windows of samples, T tokens.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from umc_ray.encoders.encoder import to_device
from umc_ray.errors import ConfigError
from umc_ray.methods import spans
from umc_ray.methods.candidates import LIST, fits, listed, text_key
from umc_ray.methods.spans import Offsets
from umc_ray.methods.text_pair import parts_of
from umc_ray.specialists.writer import Writer
from umc_ray.tasks.task import TaskKind

STRIDE = 0.25
"""By how much of their length the windows of a long context overlap."""

LEAST_CONTEXT = 32
"""Tokens that a window has at least, however long the question is."""


class Answers(Protocol):
    """What is between a network's last layer and a specialist's outputs.

    What `writes` needs no logits for its outputs, and its held-out losses say how long to train;
    of others, held-out outputs do.
    """

    writes: bool

    @property
    def card(self) -> Mapping[str, object]:
        """What has to be known to give outputs, beside the network."""
        ...

    def taught(self, prepared: Sequence[Any], targets: Tensor) -> Sequence[Any]:
        """Return samples as they are trained on, with what the network reads of their answers."""
        ...

    def width(self, kind: TaskKind) -> int:
        """Return how many numbers the last layer gives."""
        ...

    def losses(
        self, logits: Tensor, prepared: Sequence[Any], targets: Tensor, kind: TaskKind
    ) -> Tensor:
        """Return the loss of each sample of a batch, shape N."""
        ...

    def outputs(self, logits: Tensor, prepared: Sequence[Any]) -> Tensor:
        """Return the outputs NC of a batch."""
        ...

    def rows(self, lower: Sequence[Tensor]) -> Sequence[Tensor]:
        """Return what the layers below gave for each row of a batch, from that of each sample."""
        ...

    def by_sample(self, rows: Sequence[Tensor], prepared: Sequence[Any]) -> list[Tensor]:
        """Return the opposite."""
        ...


class OnEmbedding:
    """The last layer gives the outputs: a row for each sample."""

    writes = False
    card: Mapping[str, object] = MappingProxyType({})

    def taught(self, prepared: Sequence[Any], targets: Tensor) -> Sequence[Any]:
        """Return them as they are."""
        return prepared

    def width(self, kind: TaskKind) -> int:
        """Return the number of outputs."""
        return kind.outputs

    def losses(
        self, logits: Tensor, prepared: Sequence[Any], targets: Tensor, kind: TaskKind
    ) -> Tensor:
        """Return what the kind says."""
        return kind.loss(logits[None], targets)[0]

    def outputs(self, logits: Tensor, prepared: Sequence[Any]) -> Tensor:
        """Return the logits."""
        return logits

    def rows(self, lower: Sequence[Tensor]) -> Sequence[Tensor]:
        """Return them as they are."""
        return lower

    def by_sample(self, rows: Sequence[Tensor], prepared: Sequence[Any]) -> list[Tensor]:
        """Return them as they are."""
        return list(rows)


@dataclass(frozen=True)
class Passage:
    """A question and its context, in windows as a model takes them."""

    context: str
    tokens: tuple[Mapping[str, Sequence[int]], ...]  # of each window
    offsets: tuple[Offsets, ...]


class OnTokens:
    """A text encoder that reads question and context, and whose embeddings are those of tokens."""

    column = "text"
    writes = False
    card: Mapping[str, object] = MappingProxyType({})

    def __init__(self, encoder: Any) -> None:  # noqa: ANN401 - a TransformersText
        """Take over the network of an encoder.

        Raises:
            ConfigError: its tokenizer does not say where tokens are, or it reads no texts.
        """
        tokenizer = getattr(encoder, "tokenizer", None)
        if tokenizer is None or not tokenizer.is_fast:
            raise ConfigError("spans need a text encoder whose tokenizer says where tokens are")
        self.tokenizer, self.max_tokens = tokenizer, int(encoder.max_tokens)
        self.device, self.autocast = encoder.device, encoder.autocast
        self.model: nn.Module = encoder.model

    def taught(self, prepared: Sequence[Any], targets: Tensor) -> Sequence[Any]:
        """Return them as they are."""
        return prepared

    def prepare(self, payload: str) -> Passage:
        """Cut a context into windows, each after the question."""
        question, context = question_and_context(payload)
        room = self.max_tokens - self.tokenizer.num_special_tokens_to_add(pair=True)
        asked = self.tokenizer(question, add_special_tokens=False)["input_ids"]
        if len(asked) > room - LEAST_CONTEXT:
            asked = asked[: max(room - LEAST_CONTEXT, 0)]
            question = self.tokenizer.decode(asked)
        encoded = self.tokenizer(
            question,
            context,
            truncation="only_second",
            max_length=self.max_tokens,
            stride=int(STRIDE * (room - len(asked))),
            return_overflowing_tokens=True,
            return_offsets_mapping=True,
        )
        names = self.tokenizer.model_input_names
        count = len(encoded["input_ids"])
        tokens = [{name: encoded[name][i] for name in names} for i in range(count)]
        offsets = [self._offsets(encoded, i) for i in range(count)]
        return Passage(context, tuple(tokens), tuple(offsets))

    def _offsets(self, encoded: Any, window: int) -> Offsets:  # noqa: ANN401 - a BatchEncoding
        places = np.array(encoded["offset_mapping"][window], dtype=np.int64).reshape(-1, 2)
        of_context = np.array([each == 1 for each in encoded.sequence_ids(window)])
        is_text = places[:, 1] > places[:, 0]
        places[~(of_context & is_text)] = -1
        return places

    def collate(self, prepared: Sequence[Passage]) -> dict[str, Tensor]:
        """Return the windows of a batch, padded to the longest, on the device."""
        windows = [window for each in prepared for window in each.tokens]
        batch = self.tokenizer.pad(windows, padding=True, return_tensors="pt")
        return {name: to_device(self.device, values) for name, values in batch.items()}

    def embed(self, tokens: Mapping[str, Tensor]) -> Tensor:
        """Return the embeddings VTD of the tokens; gradients pass through."""
        hidden_VTD: Tensor = self.model(**tokens).last_hidden_state
        return hidden_VTD

    def width(self, kind: TaskKind) -> int:
        """Return 2: whether the answer begins, and whether it ends there."""
        return 2

    def losses(
        self, logits: Tensor, prepared: Sequence[Passage], targets: Tensor, kind: TaskKind
    ) -> Tensor:
        """Return minus the log-probability of the right spans of each sample."""
        losses = []
        for found, each, right in self._scored(logits, prepared, targets.tolist()):
            is_none = any(key == 0 for _, _, key in right)
            places = [place for target in right for place in places_of(each.context, *target)]
            losses.append(spans.log_loss(found, each.offsets, places, is_none))
        return torch.stack(losses)

    def outputs(self, logits: Tensor, prepared: Sequence[Passage]) -> Tensor:
        """Return lists of the most probable spans."""
        rows = []
        for found, each, _ in self._scored(logits, prepared, [None] * len(prepared)):
            best = [
                (value, start, "" if start < 0 else each.context[start:end])
                for value, start, end in spans.most_probable(found, each.offsets, 2 * LIST)
            ]
            best = [one for one in best if fits(one[2])][:LIST]
            rest = 1 - float(np.exp([value for value, _, _ in best]).sum())
            rows.append(listed(best, float(np.log(max(rest, 1e-7)))))
        return torch.stack(rows).to(logits.device)

    def _scored(
        self, logits: Tensor, prepared: Sequence[Passage], others: Sequence[Any]
    ) -> list[tuple[spans.Scored, Passage, Any]]:
        windows = torch.split(logits, [len(each.tokens) for each in prepared])
        return [
            (spans.score_spans(list(own), each.offsets), each, other)
            for own, each, other in zip(windows, prepared, others, strict=True)
        ]

    def rows(self, lower: Sequence[Tensor]) -> Sequence[Tensor]:
        """Return those of all windows."""
        return [window for each in lower for window in each]

    def by_sample(self, rows: Sequence[Tensor], prepared: Sequence[Passage]) -> list[Tensor]:
        """Return the windows of each sample as one tensor, padded."""
        left = iter(rows)
        return [
            nn.utils.rnn.pad_sequence([next(left) for _ in each.tokens], batch_first=True)
            for each in prepared
        ]


def question_and_context(payload: str) -> tuple[str, str]:
    """Return the two texts of a pair; a text that is none is a context without a question."""
    *question, context = parts_of(payload)
    return "".join(question), context


def places_of(context: str, start: int, length: int, key: int) -> list[tuple[int, int]]:
    """Return where a right answer stands: where it is said to or, if it is not there, anywhere.

    It is known by its length and the number of its text; of no length: nowhere.
    """
    if length <= 0:
        return []
    if start >= 0 and text_key(context[start : start + length]) == key:
        return [(start, start + length)]
    each = range(len(context) - length + 1)
    return [(at, at + length) for at in each if text_key(context[at : at + length]) == key]


def answers_of(encoder: object) -> Answers:
    """Return how the outputs of a network of an encoder come about."""
    return encoder if isinstance(encoder, OnTokens | Writer) else OnEmbedding()
