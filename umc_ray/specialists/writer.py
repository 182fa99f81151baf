"""A network that writes texts, between the training loop and lists of texts.

It is a sequence-to-sequence model, such as T5, or a causal one, which continues the sample after a
line break. Training shows it the right answer of a sample, the first one where there are several.

Suffixes: N samples, R texts of each, L of all, T tokens, V vocabulary, C outputs.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from umc_ray.config.encoder import EncoderConfig
from umc_ray.encoders.encoder import to_device
from umc_ray.encoders.precision import autocast, with_precision
from umc_ray.encoders.weights import load_tokenizer, load_transformers, weights_folder
from umc_ray.errors import ConfigError
from umc_ray.methods.text_lists import CUT, listed, size_of, texts_of
from umc_ray.methods.text_pair import readable
from umc_ray.tasks.task import TaskKind

DRAWN = 4
"""Texts that are drawn for a sample, beside the one of which each token is the most probable."""

ROWS = 1 + DRAWN

LONGER = 1.5
"""How many times the tokens of the longest right answer a text may have, before it is cut."""

IGNORED = -100
"""The label of tokens that no loss counts, such as padding."""

AFTER = "\n"
"""Between a sample and its answer, for models that continue texts."""


@dataclass(frozen=True)
class Writing:
    """The tokens of a sample and, where it is known, of its right answer."""

    asked: tuple[int, ...]
    answer: tuple[int, ...] = ()


class Writer:
    """A model of transformers that writes, as the training loop takes it."""

    column = "text"
    writes = True

    def __init__(self, config: EncoderConfig, outputs: int, longest: int = 0) -> None:
        """Load the model; `longest` is how many tokens the right answers have that it has learned.

        Raises:
            ConfigError: it cannot be loaded, or does not write texts.
        """
        folder = weights_folder(config, "config.json", "*.safetensors")
        self.tokenizer = load_tokenizer(config, folder)
        self.device = "cuda" if config.num_gpus else "cpu"
        self.autocast = partial(autocast, with_precision(config))
        self.prefix, self.width_C, self.longest = config.prefix, outputs, longest
        self.model: nn.Module = load_transformers(config, folder, writes=True).to(self.device)
        settings: Any = self.model.config
        self.is_causal = not settings.is_encoder_decoder
        if self.tokenizer.eos_token_id is None or (self.is_causal and self.tokenizer.mask_token):
            raise ConfigError(
                f"encoder {config.kind}: the model in {folder} does not write texts: take a "
                "sequence-to-sequence or causal one, or name specialists: {memory: {kind: memory}}"
            )
        self.end, self.padding = self.tokenizer.eos_token_id, self.tokenizer.pad_token_id
        self.model.generation_config = _drawing(self.end, self.padding, settings)
        window = getattr(settings, "max_position_embeddings", None) or 2 * config.max_tokens
        self.window = int(window)
        room = self.window // 2 if self.is_causal else self.window
        self.max_tokens = min(config.max_tokens, room)

    def prepare(self, payload: str) -> Writing:
        """Return the tokens of a sample, of a pair those of both texts."""
        text = self.prefix + readable(payload) + (AFTER if self.is_causal else "")
        found = self.tokenizer(text, truncation=True, max_length=self.max_tokens)["input_ids"]
        return Writing(tuple(found))

    def taught(self, prepared: Sequence[Writing], targets: Tensor) -> list[Writing]:
        """Return the samples with their right answers.

        Raises:
            ConfigError: one is longer than the model can read.
        """
        texts = [right[0] for right in texts_of(targets)]
        tokens = [self.tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts]
        self.longest = 1 + max(map(len, tokens))
        room = self.window - (self.max_tokens if self.is_causal else 0)
        if self.longest > room:
            raise ConfigError(
                f"an answer has {self.longest} tokens, the model has room for {room}: lower "
                "max_tokens of its encoder, or take a model that reads longer texts"
            )
        return [
            replace(each, answer=(*own, self.end))
            for each, own in zip(prepared, tokens, strict=True)
        ]

    @property
    def card(self) -> Mapping[str, object]:
        """What has to be known to write as it was trained."""
        return {"longest": self.longest}

    def collate(self, prepared: Sequence[Writing]) -> dict[str, Tensor]:
        """Return the tokens of a batch on the device, padded at the end."""
        if not self.is_causal:
            answers = [(self._start, *each.answer[:-1]) for each in prepared]
            asked, mask = self._padded([each.asked for each in prepared])
            return {
                "input_ids": asked,
                "attention_mask": mask,
                "decoder_input_ids": self._padded(answers)[0],
            }
        read, mask = self._padded([(*each.asked, *each.answer[:-1]) for each in prepared])
        return {"input_ids": read, "attention_mask": mask}

    @property
    def _start(self) -> int:
        settings: Any = self.model.config
        return int(settings.decoder_start_token_id)

    def _padded(
        self, rows: Sequence[Sequence[int]], left: bool = False, by: int | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return rows of tokens of one length, and where they are tokens."""
        longest = max(map(len, rows))
        tokens = torch.full((len(rows), longest), self.padding if by is None else by)
        mask = torch.zeros(len(rows), longest, dtype=torch.int64)
        for i, row in enumerate(rows):
            place = slice(longest - len(row), None) if left else slice(len(row))
            tokens[i, place], mask[i, place] = torch.tensor(row, dtype=torch.int64), 1
        return to_device(self.device, tokens), to_device(self.device, mask)

    def embed(self, batch: Mapping[str, Tensor]) -> Tensor:
        """Return the logits NTV of the tokens of right answers; gradients pass through."""
        logits_NTV: Tensor = self.model(**batch, use_cache=False).logits
        return logits_NTV

    def width(self, kind: TaskKind) -> int:
        """Return 0: the network has a last layer of its own."""
        return 0

    def losses(
        self, logits: Tensor, prepared: Sequence[Writing], targets: Tensor, kind: TaskKind
    ) -> Tensor:
        """Return minus the log-probability of each sample's right answer, per token."""
        before = [len(each.asked) - 1 if self.is_causal else 0 for each in prepared]
        rows = [
            (*[IGNORED] * skipped, *each.answer)
            for skipped, each in zip(before, prepared, strict=True)
        ]
        labels_NT, _ = self._padded(rows, by=IGNORED)
        losses_NT = nn.functional.cross_entropy(
            logits.transpose(1, 2), labels_NT, reduction="none", ignore_index=IGNORED
        )
        return losses_NT.sum(1) / (labels_NT != IGNORED).sum(1)

    def outputs(self, logits: Tensor, prepared: Sequence[Writing]) -> Tensor:
        """Return lists of what the network writes for each sample."""
        size = size_of(self.width_C)
        return torch.stack([listed(found, size) for found in self.write(prepared)]).to(self.device)

    def rows(self, lower: Sequence[Tensor]) -> Sequence[Tensor]:
        """Return them as they are."""
        return lower

    def by_sample(self, rows: Sequence[Tensor], prepared: Sequence[Writing]) -> list[Tensor]:
        """Return them as they are."""
        return list(rows)

    @torch.inference_mode()
    def write(self, prepared: Sequence[Writing]) -> list[list[tuple[float, str]]]:
        """Return R texts for each sample, each with its log-probability per token.

        The first has the most probable token at each place, the others are drawn.
        """
        limit = self._limit(prepared)
        asked, mask = self._padded([one.asked for one in prepared], left=self.is_causal)
        choice = _Choice(prepared, limit, self.end)
        model: Any = self.model
        written_LT = model.generate(
            input_ids=asked,
            attention_mask=mask,
            max_new_tokens=limit,
            logits_processor=[choice],
        )
        written_LT = written_LT[:, asked.shape[1] if self.is_causal else 1 :].cpu()
        texts = self.tokenizer.batch_decode(written_LT, skip_special_tokens=True)
        texts = [
            f"{text.rstrip()}{CUT}" if is_open else text  # it was not at its end
            for text, is_open in zip(texts, choice.is_open_L.tolist(), strict=True)
        ]
        found = list(zip(choice.log_prob_L.tolist(), texts, strict=True))
        return [found[start : start + ROWS] for start in range(0, len(found), ROWS)]

    def _limit(self, prepared: Sequence[Writing]) -> int:
        """Return how many tokens a text may have."""
        limit = math.ceil(LONGER * max(self.longest, 1))
        read = max(len(each.asked) for each in prepared) if self.is_causal else 0
        return max(1, min(limit, self.window - read))


def _drawing(end: int, padding: int, settings: Any) -> Any:  # noqa: ANN401 - of transformers
    """Return how a model writes, without habits that its folder may name."""
    from transformers import GenerationConfig  # seconds to import

    return GenerationConfig(  # type: ignore[no-untyped-call]
        do_sample=True,
        top_k=0,
        num_return_sequences=ROWS,
        eos_token_id=end,
        pad_token_id=padding,
        decoder_start_token_id=getattr(settings, "decoder_start_token_id", None),
    )


class _Choice:
    """Chooses each token that `generate` writes, and keeps how probable the texts are.

    What is drawn for a sample does not depend on the samples beside it.
    """

    def __init__(self, prepared: Sequence[Writing], limit: int, end: int) -> None:
        draws = [_draws(one, limit) for one in prepared]
        self.draws_TL, self.end, self.step = torch.from_numpy(np.concatenate(draws, 1)), end, 0
        self.is_first_L = torch.arange(self.draws_TL.shape[1]) % ROWS == 0
        self.is_open_L = torch.ones_like(self.is_first_L)
        self.sum_L, self.length_L = torch.zeros(len(self.is_first_L)), self.is_open_L.int() * 0

    @property
    def log_prob_L(self) -> Tensor:
        """Return the log-probability of each text, per token."""
        return self.sum_L / self.length_L

    def __call__(self, _: Tensor, logits_LV: Tensor) -> Tensor:
        """Return logits that leave one token to choose from."""
        logs_LV = logits_LV.float().log_softmax(-1).cpu()
        below_LV = logs_LV.exp().cumsum(1) < self.draws_TL[self.step][:, None]
        drawn_L = below_LV.sum(1).clamp_max(logs_LV.shape[1] - 1)
        token_L = torch.where(self.is_first_L, logs_LV.argmax(1), drawn_L)
        self.sum_L += logs_LV.gather(1, token_L[:, None])[:, 0] * self.is_open_L
        self.length_L += self.is_open_L
        self.is_open_L &= token_L != self.end
        self.step += 1
        only_LV = torch.full_like(logits_LV, -torch.inf)
        return only_LV.scatter(1, token_L[:, None].to(only_LV.device), 0.0)


def _draws(sample: Writing, limit: int) -> npt.NDArray[np.float32]:
    """Return numbers from 0 to 1, shape TR: the same ones for the same sample."""
    rng = np.random.default_rng([len(sample.asked), *sample.asked])
    return rng.random((limit, ROWS), dtype=np.float32)
