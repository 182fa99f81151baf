"""A rating from 1 to 5: what is nearly right is worth nearly as much.

Suffixes: S specialists, N samples, C ratings, M models fitted together, V votes.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from umc_ray.methods import scoring
from umc_ray.methods.calibration import fit_temperature, reliability
from umc_ray.methods.consensus import last_votes, one_rate
from umc_ray.methods.intervals import mean_interval
from umc_ray.records import FloatArray, IntArray
from umc_ray.tasks.forms import ChoiceForm
from umc_ray.tasks.quality import Estimate, Quality
from umc_ray.tasks.task import (
    Calibration,
    Measures,
    Prediction,
    Targets,
    Votes,
    find_label,
    plain_text,
    with_names,
)

SCALE = ("1", "2", "3", "4", "5")
SHOWN_DIGITS = 4


@dataclass(frozen=True)
class Rating:
    """Each sample has one rating; models see it as a class number, one less."""

    labels: tuple[str, ...] = SCALE

    name: ClassVar[str] = "rating"
    utility_name: ClassVar[str] = "closeness"
    hub_category: ClassVar[str] = "classification"
    target_type: ClassVar[pa.DataType] = pa.int8()
    measures_about: ClassVar[Mapping[str, str]] = MappingProxyType(
        {
            "confidence": "mean over specialists of their highest probability",
            "disagreement": "mean divergence between the specialists, bits",
            "score": "confidence minus disagreement, summed over specialists",
            "margin": "gap between the two most likely ratings of the ensemble",
            "entropy": "entropy of the ensemble's mean, bits",
            "mutual_information": "entropy that the specialists' conflict explains",
        }
    )
    prediction_fields: ClassVar[tuple[pa.Field, ...]] = (
        pa.field("predicted", pa.int16()),  # number of the rating nearest to the expected one
        pa.field("certainty", pa.float32()),  # its probability
        pa.field("expected", pa.float32()),  # 1 to 5
    )

    def __post_init__(self) -> None:
        """Refuse other labels; none stand for the scale.

        Raises:
            ValueError: there are others.
        """
        if self.labels not in ((), SCALE):
            found = list(self.labels)
            raise ValueError(f"labels of a rating task are 1 to 5: leave them out, found {found}")
        object.__setattr__(self, "labels", SCALE)

    @property
    def outputs(self) -> int:
        """One logit for each rating."""
        return len(SCALE)

    def parse(self, raw: object, ignore_case: bool = False) -> str:
        """Return the rating as text.

        Raises:
            DataError: it is none.
        """
        return find_label(plain_text(raw).strip(), SCALE, ignore_case)

    def value(self, text: str) -> object:
        """Return the number."""
        return int(text)

    def of_rating(self, rating: int) -> str | None:
        """Return a recorded rating itself; 0 is a skip.

        Raises:
            DataError: it is not from 0 to 5.
        """
        return None if rating == 0 else self.parse(rating)

    def encode(self, texts: Sequence[str]) -> Targets:
        """Return class numbers, shape N."""
        return np.array([SCALE.index(text) for text in texts], dtype=np.int64)

    def strata(self, texts: Sequence[str]) -> IntArray:
        """Return class numbers."""
        numbers: IntArray = self.encode(texts)
        return numbers

    def counts(self, texts: Sequence[str]) -> dict[str, int]:
        """Count the samples of each rating."""
        found = Counter(texts)
        return {label: found[label] for label in SCALE if found[label]}

    def loss(self, outputs_MNC: Tensor, targets: Tensor) -> Tensor:
        """Return the cross-entropy."""
        logits_MCN, y_MN = outputs_MNC.transpose(1, 2), targets.expand(len(outputs_MNC), -1)
        return torch.nn.functional.cross_entropy(logits_MCN, y_MN, reduction="none")

    def calibrate(
        self, outputs_NC: FloatArray, targets: Targets, weights_N: FloatArray
    ) -> Calibration:
        """Fit a temperature."""
        return {"temperature": fit_temperature(outputs_NC, targets, weights_N)}

    def activation(self, calibrations: Sequence[Calibration]) -> Callable[[Tensor], Tensor]:
        """Return the softmax at each specialist's temperature."""
        values = [each["temperature"] for each in calibrations]
        temperatures_S = torch.tensor(values, dtype=torch.float32)
        return lambda logits_SNC: scoring.ensemble_probabilities(logits_SNC, temperatures_S)

    def decide(self, mean_NC: FloatArray, targets: Targets, weights_N: FloatArray) -> Calibration:
        """Need nothing: the expected rating is predicted, rounded."""
        return {}

    def measures(self, probs_SNC: Tensor, decision: Calibration) -> Measures:
        """Measure samples by the specialists' probabilities of ratings."""
        found = scoring.score(probs_SNC)
        columns = {name: getattr(found, f"{name}_N") for name in self.measures_about}
        number_N = _predicted(found.mean_NC)
        worth_NC = 1 - (torch.arange(len(SCALE)) - number_N[:, None]).abs() / (len(SCALE) - 1)
        expected_N = (found.mean_NC * worth_NC).sum(1).clamp(0, 1)
        return Measures(found.mean_NC, columns, expected_N, _at(found.mean_NC, number_N))

    def predict(self, mean_NC: Tensor, decision: Calibration) -> list[str]:
        """Return the rating nearest to the expected one."""
        return [SCALE[i] for i in _predicted(mean_NC).tolist()]

    def utility(self, predicted: Sequence[str], targets: Sequence[str]) -> FloatArray:
        """Return 1 for the right rating, 0 for one at the other end of the scale."""
        return _closeness(self.encode(predicted), self.encode(targets))

    def raw_utility(self, outputs_MNC: FloatArray, targets: Targets) -> FloatArray:
        """Return the closeness of the rounded expected rating."""
        probs_MNC = torch.softmax(torch.from_numpy(outputs_MNC), dim=2)
        return _closeness(_predicted(probs_MNC).numpy(), targets)

    def acquisition(self, measures: Measures, name: str) -> Tensor:
        """Return one of the acquisition functions of classification."""
        columns = {f"{key}_N": values_N for key, values_N in measures.columns.items()}
        return scoring.acquisition(scoring.Scores(measures.mean_NC, **columns), name)

    def urgency(self, value: float, name: str, specialists: int) -> float:
        """Scale an acquisition value to 0..1."""
        return scoring.urgency(value, name, len(SCALE), specialists)

    def prediction_columns(self, measures: Measures, decision: Calibration) -> list[pa.Array]:
        """Return the predicted rating, its probability and the expected rating."""
        number_N = _predicted(measures.mean_NC).numpy()
        return [
            pa.array(number_N.astype(np.int16)),
            pa.array(measures.certainty_N.numpy()),
            pa.array(1 + _expected(measures.mean_NC).numpy()),
        ]

    def predicted(self, rows: pa.Table) -> tuple[list[str], list[float]]:
        """Read the predicted rating and its probability."""
        return [SCALE[i] for i in rows["predicted"].to_pylist()], rows["certainty"].to_pylist()

    def named(self, scores: pa.Table) -> pa.Table:
        """Return scores with ratings in place of class numbers."""
        return with_names(scores, ("predicted",), SCALE)

    def explain(self, row: Mapping[str, Any]) -> str:
        """Say what is expected and how sure that is."""
        return (
            f"rated {SCALE[int(row['predicted'])]} with {100 * row['certainty']:.0f} % certainty, "
            f"the specialists disagree by {row['disagreement']:.2f} bit"
        )

    def describe(
        self, probs_SNC: Tensor, specialists: Sequence[str], decision: Calibration
    ) -> list[Prediction]:
        """Return probabilities of ratings, and the rating that each specialist predicts."""
        found = self.measures(probs_SNC, decision)
        predicted, certainty_N = self.predict(found.mean_NC, decision), found.certainty_N.tolist()
        choice_SN = _predicted(probs_SNC)
        share_SN = _at(probs_SNC, choice_SN)
        return [
            Prediction(
                predicted=predicted[i],
                confidence=certainty_N[i],
                shares=dict(zip(SCALE, map(_round, found.mean_NC[i].tolist()), strict=True)),
                specialists={
                    name: (SCALE[int(choice_SN[s, i])], _round(float(share_SN[s, i])))
                    for s, name in enumerate(specialists)
                },
                measures={
                    name: _round(float(values_N[i])) for name, values_N in found.columns.items()
                },
            )
            for i in range(probs_SNC.shape[1])
        ]

    def consensus(self, votes: Votes) -> dict[int, str]:
        """Return the median rating; of two, the lower one."""
        rows = last_votes(votes.sample_V, votes.person_V)
        sample_V, number_V = votes.sample_V[rows], self.encode(votes.text_V)[rows]
        order = np.lexsort((number_V, sample_V))
        samples_N, first_N, count_N = np.unique(
            sample_V[order], return_index=True, return_counts=True
        )
        median_N = number_V[order][first_N + (count_N - 1) // 2]
        texts = [SCALE[i] for i in median_N.tolist()]
        return dict(zip(samples_N.tolist(), texts, strict=True))

    def settled(self, votes: Votes, confidence: float) -> set[int]:
        """Return the samples with a rating that is probable enough, all people erring alike."""
        found = one_rate(votes.sample_V, votes.person_V, self.encode(votes.text_V), len(SCALE))
        return set(found.item_N[found.agreement_N >= confidence].tolist())

    def quality(self, rows: pa.Table, targets: Sequence[str]) -> Quality:
        """Return closeness, exact matches and the confusion of ratings."""
        predicted_N = rows["predicted"].to_numpy().astype(np.int64)
        truth_N = self.encode(targets)
        exact_N = predicted_N == truth_N
        calibration = reliability(rows["certainty"].to_numpy(), exact_N)
        counts_CC = np.zeros((len(SCALE), len(SCALE)), dtype=np.int64)
        np.add.at(counts_CC, (truth_N, predicted_N), 1)
        return Quality(
            n=len(truth_N),
            utility=Estimate(*mean_interval(_closeness(predicted_N, truth_N))),
            ece=calibration.error(),
            reliability=calibration,
            figures={"exact_match": Estimate(*mean_interval(exact_N))},
            confusion=counts_CC.tolist(),
        )

    def form(self) -> ChoiceForm:
        """Return a choice of one rating."""
        return ChoiceForm(SCALE)


def _expected(probs: Tensor) -> Tensor:
    """Return the expected class number, over the last dimension."""
    return probs.float() @ torch.arange(len(SCALE), dtype=torch.float32)


def _predicted(probs: Tensor) -> Tensor:
    return _expected(probs).round().long()


def _at(probs: Tensor, numbers: Tensor) -> Tensor:
    """Return the probability of a class number each."""
    return probs.gather(-1, numbers[..., None])[..., 0]


def _closeness(predicted: IntArray, targets: IntArray) -> FloatArray:
    closeness: FloatArray = (1 - np.abs(predicted - targets) / (len(SCALE) - 1)).astype(np.float32)
    return closeness


def _round(value: float) -> float:
    return round(value, SHOWN_DIGITS)
