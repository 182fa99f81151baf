"""Samples whose answer is a text to write: a translation, a summary, a correction.

Specialists write a few texts each: methods/text_lists.py. A text is worth its chrF, the share of
runs of characters that it has in common with the right answer to which it is most alike.

Suffixes: S specialists, N samples, C numbers of a list, K places of a list, W bytes, G right
answers, M models fitted together.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from umc_ray.deferred import Tensor, torch
from umc_ray.errors import DataError
from umc_ray.methods import chrf, text_lists
from umc_ray.methods.bleu import bleu
from umc_ray.methods.calibration import reliability
from umc_ray.methods.intervals import mean_interval
from umc_ray.methods.text_scores import (
    UNCHANGED,
    choose,
    corrected,
    fit_list,
    fit_log_odds,
    score_texts,
)
from umc_ray.records import FloatArray, IntArray, LearnedFrom
from umc_ray.tasks.acquisition import by_measures
from umc_ray.tasks.quality import Estimate, Quality
from umc_ray.tasks.task import (
    Calibration,
    Measures,
    Prediction,
    Targets,
    Votes,
    shown_predictions,
    weights_of,
)
from umc_ray.tasks.text_form import TextForm
from umc_ray.tasks.written_answers import answer_text, first_text, quoted, read_texts, texts_of

RIGHT = 4
"""Right answers of a sample that models see; quality is measured by all."""

LONGEST = 500

SURE, WORTH = "certainty", "worth"
"""What a decision corrects: how likely a text is good, and its expected utility."""


@dataclass(frozen=True)
class Generation:
    """Each sample has a text to be written, maybe several that are right."""

    labels: tuple[str, ...] = ()
    max_answer_bytes: int = LONGEST

    name: ClassVar[str] = "generation"
    utility_name: ClassVar[str] = "chrF"
    hub_category: ClassVar[str] = "generation"
    learned_from: ClassVar[LearnedFrom] = "texts"
    right_from: ClassVar[float] = 0.5
    target_type: ClassVar[pa.DataType] = pa.list_(pa.string())
    measures_about: ClassVar[Mapping[str, str]] = MappingProxyType(
        {
            "confidence": "mean over specialists of their answer's probability per token",
            "consistency": "mean chrF of what the specialists wrote, within and between them",
            "product": "confidence times consistency",
            "disagreement": "1 less the mean chrF of the specialists' answers, 0 to 1",
            "score": "confidence minus disagreement, summed over specialists",
            "entropy": "mean surprise of the specialists at their answers, bits per token",
            "mutual_information": "how much less consistent they are with each other than alone",
        }
    )
    prediction_fields: ClassVar[tuple[pa.Field, ...]] = (
        pa.field("answer", pa.string()),
        pa.field("certainty", pa.float32()),  # that its chrF is at least `right_from`
        pa.field("expected_chrf", pa.float32()),  # 0 to 1
    )

    def __post_init__(self) -> None:
        """Refuse labels.

        Raises:
            ValueError: there are some.
        """
        if self.labels:
            found = list(self.labels)
            raise ValueError(f"a generation task has no labels: leave them out, found {found}")
        object.__setattr__(self, "labels", ())

    @property
    def outputs(self) -> int:
        """A list of texts, as numbers."""
        return text_lists.width_of(self.max_answer_bytes)

    def parse(self, raw: object, sample: str | None = None) -> str:
        """Return the right answers as text.

        Raises:
            DataError: it is none, or longer than `max_answer_bytes`.
        """
        return answer_text(read_texts(raw, self.max_answer_bytes))

    def value(self, text: str) -> object:
        """Return the right answers."""
        return list(texts_of(text))

    def of_rating(self, rating: int) -> str | None:
        """Refuse: a rating is no text.

        Raises:
            DataError: always.
        """
        raise DataError(f"a generation task cannot use recorded ratings such as {rating}")

    def encode(self, texts: Sequence[str]) -> Targets:
        """Return the bytes of RIGHT answers each, without any in place of those there are not."""
        size = self.max_answer_bytes
        targets = np.zeros((len(texts), RIGHT, size), np.uint8)
        for row, text in enumerate(texts):
            found = texts_of(text)[:RIGHT]
            targets[row, : len(found)] = text_lists.text_bytes(found, size)
        return targets

    def strata(self, texts: Sequence[str]) -> IntArray:
        """Return 0 for each: there are no classes."""
        return np.zeros(len(texts), np.int64)

    def counts(self, texts: Sequence[str]) -> dict[str, int]:
        """Return nothing: there are no labels."""
        return {}

    def loss(self, outputs_MNC: Tensor, targets: Tensor) -> Tensor:
        """Return minus the log of how likely right answers are."""
        ones_M = torch.ones(len(outputs_MNC))
        probs_MNC = text_lists.probabilities(outputs_MNC, ones_M, ones_M - 1)
        return torch.stack([self.log_loss(probs_NC, targets) for probs_NC in probs_MNC])

    def calibrate(
        self, outputs_NC: FloatArray, targets: Targets, weights_N: FloatArray
    ) -> Calibration:
        """Fit a temperature, and how likely a right answer is to be like no text of a list."""
        lists = text_lists.unpack(torch.from_numpy(outputs_NC))
        temperature, shift = fit_list(
            lists, self._likeness(lists, torch.from_numpy(targets)), torch.from_numpy(weights_N)
        )
        return {"temperature": temperature, "shift": shift}

    def activation(self, calibrations: Sequence[Calibration]) -> Callable[[Tensor], Tensor]:
        """Return the lists with probabilities, as each specialist's calibration says."""
        return partial(
            text_lists.probabilities,
            temperatures_S=torch.tensor([each["temperature"] for each in calibrations]).float(),
            shifts_S=torch.tensor([each["shift"] for each in calibrations]).float(),
        )

    def pooling(self, probs_SNC: Tensor) -> Callable[[Tensor], Tensor]:
        """Pool by the most probable texts of all specialists."""
        return partial(text_lists.pooled, probs_SNC)

    def log_loss(self, mean_NC: Tensor, targets: Tensor) -> Tensor:
        """Return minus the log of how likely right answers are, shape N."""
        lists = text_lists.unpack(mean_NC)
        return text_lists.log_loss(lists.values_K, lists.rest, self._likeness(lists, targets))

    def _likeness(self, lists: text_lists.TextLists, targets: Tensor) -> Tensor:
        texts_NK = text_lists.texts_of(lists.bytes_KW)
        return text_lists.likeness(texts_NK, _right_ones(targets))

    def decide(self, mean_NC: FloatArray, targets: Targets, weights_N: FloatArray) -> Calibration:
        """Fit how likely a text is good, and what it is worth, by what the ensemble says of it."""
        chosen = choose(torch.from_numpy(mean_NC), self.right_from)
        pairs = zip(chosen.texts, _right_ones(torch.from_numpy(targets)), strict=True)
        utility_N = np.array([chrf.chrf(*each) for each in pairs], np.float64)
        return {
            SURE: fit_log_odds(
                chosen.mass_N, (utility_N >= self.right_from).astype(np.float64), weights_N
            ),
            WORTH: fit_log_odds(chosen.worth_N, utility_N, weights_N),
        }

    def measures(self, probs_SNC: Tensor, decision: Calibration) -> Measures:
        """Measure samples by the texts that the specialists would write."""
        n, weights_S = len(probs_SNC), weights_of(decision)
        mean_NC = self.pooling(probs_SNC)(torch.ones(n) / n if weights_S is None else weights_S)
        found, chosen = score_texts(probs_SNC), choose(mean_NC, self.right_from)
        columns = {
            "confidence": found.confidence_N,
            "consistency": found.consistency_N,
            "product": found.confidence_N * found.consistency_N,
            "disagreement": found.disagreement_N,
            "score": n * (found.confidence_N - found.disagreement_N),
            "entropy": found.surprise_N,
            "mutual_information": (found.within_N - found.between_N).clamp_min(0),
        }
        certainty_N = corrected(chosen.mass_N, *_change(decision, SURE))
        worth_N = corrected(chosen.worth_N, *_change(decision, WORTH))
        worth_N = torch.maximum(worth_N, self.right_from * certainty_N)
        return Measures(mean_NC, columns, worth_N, certainty_N)

    def predict(self, mean_NC: Tensor, decision: Calibration) -> list[str]:
        """Return the texts that are most like what the ensemble expects."""
        return choose(mean_NC, self.right_from).texts

    def utility(self, predicted: Sequence[str], targets: Sequence[str]) -> FloatArray:
        """Return the chrF with the right answer that is most alike, 0 to 1."""
        pairs = zip(map(first_text, predicted), map(texts_of, targets), strict=True)
        return np.array([chrf.chrf(*each) for each in pairs], np.float32)

    def raw_utility(self, outputs_MNC: FloatArray, targets: Targets) -> FloatArray:
        """Return the chrF of what uncalibrated models would write."""
        right_NG = _right_ones(torch.from_numpy(targets))
        ones_M = torch.ones(len(outputs_MNC))
        probs_MNC = text_lists.probabilities(torch.from_numpy(outputs_MNC), ones_M, ones_M - 1)
        texts_MN = [self.predict(probs_NC, {}) for probs_NC in probs_MNC]
        worth = [list(map(chrf.chrf, texts_N, right_NG)) for texts_N in texts_MN]
        return np.array(worth, np.float32)

    def acquisition(self, measures: Measures, name: str) -> Tensor:
        """Return one of ACQUISITIONS; `margin` is 1 less the product.

        Raises:
            ConfigError: there is no such acquisition function.
        """
        return by_measures(measures, name, 1 - measures.columns["product"])

    def urgency(self, value: float, name: str, specialists: int) -> float:
        """Scale an acquisition value to 0..1."""
        if name == "entropy":
            value = 1 - 2.0**-value
        if name == "score":
            value = (value / specialists + 1) / 2
        return min(max(value, 0.0), 1.0)

    def prediction_columns(self, measures: Measures, decision: Calibration) -> list[pa.Array]:
        """Return the text, how likely it is good, and its expected chrF."""
        return [
            pa.array(self.predict(measures.mean_NC, decision), pa.string()),
            pa.array(measures.certainty_N.numpy(), pa.float32()),
            pa.array(measures.expected_utility_N.numpy(), pa.float32()),
        ]

    def predicted(self, rows: pa.Table) -> tuple[list[str], list[float]]:
        """Read the text and how likely it is good."""
        return rows["answer"].to_pylist(), rows["certainty"].to_pylist()

    def may_have(self, scores: pa.Table, label: str) -> npt.NDArray[np.bool_]:
        """Return nothing: there are no labels."""
        return np.zeros(len(scores), np.bool_)

    def named(self, scores: pa.Table) -> pa.Table:
        """Return scores as they are."""
        return scores

    def explain(self, row: Mapping[str, Any]) -> str:
        """Say how sure and how consistent the specialists are, and how far they disagree."""
        sure, alike = (f"{100 * row[name]:.0f}" for name in ("confidence", "consistency"))
        clause, value = "", f"{row['disagreement']:.2f}"
        if value != "0.00":
            clause = f", the specialists disagree by {value}"
        said = quoted(row["answer"])
        return f"{said}: {sure} % a token, drawn texts are {alike} % alike{clause}"

    def describe(
        self, probs_SNC: Tensor, specialists: Sequence[str], decision: Calibration
    ) -> list[Prediction]:
        """Return the ensemble's text, and that of each specialist."""
        found = self.measures(probs_SNC, decision)
        alone = {name: value for name, value in decision.items() if name != "weights"}
        opinions = {}
        for s, name in enumerate(specialists):
            own = self.measures(probs_SNC[s : s + 1], alone)
            opinions[name] = self.predict(own.mean_NC, alone), own.certainty_N
        predicted = self.predict(found.mean_NC, decision)
        return shown_predictions(found, predicted, self.labels, opinions)

    def consensus(self, votes: Votes) -> dict[int, str]:
        """Return the answer with the highest mean chrF to those of the others; of equals one."""
        return {
            sample: (own := sorted(answers))[chrf.most_alike([first_text(a) for a in own])[0]]
            for sample, answers in sorted(votes.by_sample().items())
        }

    def tied(self, votes: Votes) -> set[int]:
        """Return the samples whose answers are disputed."""
        given = votes.by_sample()
        return {sample for sample, answers in given.items() if self.disputed(answers)}

    def settled(self, votes: Votes, confidence: float) -> set[int]:
        """Return the samples for which two people wrote the same, or one of three is the middle."""
        return {
            sample
            for sample, answers in votes.by_sample().items()
            if len(answers) > 1 and not self.disputed(answers)
        }

    def disputed(self, answers: Sequence[str]) -> bool:
        """Return whether several answers are as much like the others as each other."""
        return len(chrf.most_alike([first_text(each) for each in answers])) > 1

    def quality(self, rows: pa.Table, targets: Sequence[str]) -> Quality:
        """Return the mean chrF of samples, and the BLEU of all."""
        predicted, certainty = self.predicted(rows)
        utility_N = self.utility(predicted, targets)
        right_N = utility_N >= self.right_from
        calibration = reliability(np.array(certainty, np.float32), right_N)
        found = bleu([first_text(each) for each in predicted], list(map(texts_of, targets)))
        return Quality(
            n=len(targets),
            utility=Estimate(*mean_interval(utility_N)),
            ece=calibration.error(),
            reliability=calibration,
            figures={"BLEU": Estimate(found.value, found.low, found.high)},
            signatures={"BLEU": found.signature},
        )

    def form(self) -> TextForm:
        """Return the writing of a text."""
        return TextForm(self.max_answer_bytes)


def _right_ones(targets: Tensor) -> list[list[str]]:
    """Return the right answers NG of targets."""
    return [[text for text in own if text] for own in text_lists.texts_of(targets)]


def _change(decision: Calibration, name: str) -> Sequence[float]:
    found = decision.get(name, UNCHANGED)
    assert isinstance(found, list | tuple)
    return found
