"""A number, such as how similar two sentences are from 0 to 5.

The range of the answers makes errors comparable: a utility, an uncertainty or a disagreement is a
share of it. It is asked for, not learned: a figure must mean the same in each round, test and
process, and the first labels of a campaign say little of the range.

Suffixes: S specialists, N samples, M models fitted together, V votes; 2 is for the two outputs, and
for the two moments that they become.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from umc_ray.deferred import Tensor, torch
from umc_ray.methods import numbers
from umc_ray.methods.calibration import reliability
from umc_ray.methods.consensus import last_votes, one_rate
from umc_ray.methods.intervals import mean_interval
from umc_ray.records import FloatArray, IntArray, LearnedFrom
from umc_ray.tasks.acquisition import by_measures
from umc_ray.tasks.forms import NumberForm
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

TOLERANCE = 0.1
"""A prediction is right if it is no farther from the answer than this share of the range."""

STRATA = 5
"""Parts of the range that the search for rare answers tells apart."""

DIGITS = 3  # predictions are written to a thousandth of the range, or finer

MOST_BITS = 0.5 * math.log2(numbers.MOST_VARIANCE / numbers.LEAST_VARIANCE)


@dataclass(frozen=True)
class Regression:
    """Each sample has a number in a range."""

    labels: tuple[str, ...] = ()
    range: tuple[float, float] | None = None

    name: ClassVar[str] = "regression"
    utility_name: ClassVar[str] = "closeness"
    hub_category: ClassVar[str] = "classification"  # where the Hub files the scoring of texts
    target_type: ClassVar[pa.DataType] = pa.float64()
    learned_from: ClassVar[LearnedFrom] = "embedding"
    right_from: ClassVar[float] = 1 - TOLERANCE
    measures_about: ClassVar[Mapping[str, str]] = MappingProxyType(
        {
            "confidence": "mean over specialists of how probably a tenth of the range holds the "
            "error",
            "disagreement": "variance of the specialists' means, as a share of the greatest one",
            "score": "confidence minus disagreement, summed over specialists",
            "variance": "predictive variance of the ensemble, the range being 1",
            "entropy": "entropy of the ensemble's prediction above that of a sure one, bits",
            "mutual_information": "entropy that the specialists' conflict explains",
        }
    )
    prediction_fields: ClassVar[tuple[pa.Field, ...]] = (
        pa.field("predicted", pa.float64()),
        pa.field("deviation", pa.float32()),  # predictive standard deviation, in the same unit
        pa.field("certainty", pa.float32()),  # probability that it is right within the tolerance
    )

    def __post_init__(self) -> None:
        """Check the range.

        Raises:
            ValueError: there is none, it is empty, or the campaign names labels.
        """
        if self.labels:
            found = list(self.labels)
            raise ValueError(f"a regression task has no labels: leave them out, found {found}")
        low, high = self.range or (0, 0)
        if not (math.isfinite(high - low) and low < high):
            raise ValueError(
                "a regression task needs range: [lowest, highest], two numbers that answers lie "
                f"between, such as range: [0, 5], and no labels; found range {self.range}"
            )

    @property
    def outputs(self) -> int:
        """A mean and a log-variance."""
        return 2

    @property
    def _low(self) -> float:
        assert self.range is not None
        return self.range[0]

    @property
    def _high(self) -> float:
        assert self.range is not None
        return self.range[1]

    @property
    def _span(self) -> float:
        return self._high - self._low

    def parse(self, raw: object, sample: str | None = None) -> str:
        """Return a number in its shortest spelling; a list of one stands for it.

        Raises:
            DataError: it is none, or not in the range.
        """
        if isinstance(raw, list | tuple) and len(raw) == 1:
            raw = raw[0]
        return self.form().text(raw)

    def value(self, text: str) -> object:
        """Return the number."""
        return float(text)

    def of_rating(self, rating: int) -> str | None:
        """Return a recorded rating itself.

        Raises:
            DataError: it is not in the range.
        """
        return self.parse(rating)

    def encode(self, texts: Sequence[str]) -> Targets:
        """Return places on the scale, -1/2 to 1/2, shape N."""
        values_N = np.array([float(text) for text in texts], dtype=np.float64)
        return ((values_N - self._low) / self._span - 0.5).astype(np.float32)

    def strata(self, texts: Sequence[str]) -> IntArray:
        """Return the fifth of the range that holds each answer."""
        parts_N = np.floor((self.encode(texts) + 0.5) * STRATA + 1e-6).astype(np.int64)
        return parts_N.clip(0, STRATA - 1)

    def counts(self, texts: Sequence[str]) -> dict[str, int]:
        """Count nothing: numbers have no labels."""
        return {}

    def loss(self, outputs_MNC: Tensor, targets: Tensor) -> Tensor:
        """Return the log-loss of a Gaussian."""
        return numbers.gaussian_loss(*numbers.of_outputs(outputs_MNC), targets)

    def calibrate(
        self, outputs_NC: FloatArray, targets: Targets, weights_N: FloatArray
    ) -> Calibration:
        """Fit a scale of the variances, and the least of them."""
        found = numbers.of_outputs(torch.from_numpy(outputs_NC).double())
        mean_N, variance_N = (each_N.numpy() for each_N in found)
        fitted = numbers.fit_variances(mean_N.clip(-0.5, 0.5), variance_N, targets, weights_N)
        return dict(zip(("variance_scale", "least_variance"), fitted, strict=True))

    def activation(self, calibrations: Sequence[Calibration]) -> Callable[[Tensor], Tensor]:
        """Return the moments of each specialist, its mean in the range, its variance scaled."""
        scales_S1, least_S1 = (
            torch.tensor([each[name] for each in calibrations])[:, None]
            for name in ("variance_scale", "least_variance")
        )

        def activate(outputs_SN2: Tensor) -> Tensor:
            mean_SN, fitted_SN = numbers.of_outputs(outputs_SN2.float())
            variance_SN = numbers.calibrated(fitted_SN, scales_S1, least_S1)
            return numbers.moments(mean_SN.clamp(-0.5, 0.5), variance_SN)

        return activate

    def pooling(self, probs_SNC: Tensor) -> Callable[[Tensor], Tensor]:
        """Pool by the moments of the weighted product."""
        return partial(numbers.gaussian_product, probs_SNC)

    def log_loss(self, mean_NC: Tensor, targets: Tensor) -> Tensor:
        """Return the log-loss of a Gaussian."""
        return numbers.gaussian_loss(*numbers.mean_and_variance(mean_NC), targets)

    def decide(self, mean_NC: FloatArray, targets: Targets, weights_N: FloatArray) -> Calibration:
        """Need nothing: the mean is predicted."""
        return {}

    def measures(self, probs_SNC: Tensor, decision: Calibration) -> Measures:
        """Measure samples by the specialists' means and variances."""
        weights_S = weights_of(decision)
        mixed_N2 = probs_SNC.mean(0)
        mean_N2 = mixed_N2 if weights_S is None else self.pooling(probs_SNC)(weights_S)
        mean_SN, variance_SN = numbers.mean_and_variance(probs_SNC.double())
        variance_N = numbers.mean_and_variance(mean_N2.double())[1]
        confidence_N = numbers.within(variance_SN, TOLERANCE).mean(0)
        apart_N = (4 * ((mean_SN - mean_SN.mean(0)) ** 2).mean(0)).clamp(0, 1)
        mixed_N = numbers.bits(numbers.mean_and_variance(mixed_N2.double())[1])
        columns = {
            "confidence": confidence_N,
            "disagreement": apart_N,
            "score": len(probs_SNC) * (confidence_N - apart_N),
            "variance": variance_N,
            "entropy": numbers.bits(variance_N),
            "mutual_information": (mixed_N - numbers.bits(variance_SN).mean(0)).clamp_min(0),
        }
        error_N = (variance_N - numbers.LEAST_VARIANCE).clamp_min(0).sqrt() * (2 / math.pi) ** 0.5
        return Measures(
            mean_N2,
            {name: columns[name].float() for name in self.measures_about},
            (1 - error_N).clamp(0, 1).float(),
            numbers.within(variance_N, TOLERANCE).float(),
        )

    def predict(self, mean_NC: Tensor, decision: Calibration) -> list[str]:
        """Return the means, rounded."""
        return self._texts(self._values(mean_NC))

    def utility(self, predicted: Sequence[str], targets: Sequence[str]) -> FloatArray:
        """Return 1 less the error as a share of the range."""
        return _closeness(self.encode(predicted), self.encode(targets))

    def raw_utility(self, outputs_MNC: FloatArray, targets: Targets) -> FloatArray:
        """Return the closeness of the means in the range."""
        mean_MN, _ = numbers.of_outputs(torch.from_numpy(outputs_MNC))
        return _closeness(mean_MN.numpy().clip(-0.5, 0.5), targets)

    def acquisition(self, measures: Measures, name: str) -> Tensor:
        """Return one of ACQUISITIONS; the margin of a number is its predictive variance.

        Raises:
            ConfigError: there is no such acquisition function.
        """
        return by_measures(measures, name, measures.columns["variance"])

    def urgency(self, value: float, name: str, specialists: int) -> float:
        """Scale an acquisition value to 0..1; a deviation of half the range is 1."""
        if name == "margin":
            value = 2 * (math.sqrt(value) - math.sqrt(numbers.LEAST_VARIANCE))
        if name in ("entropy", "mutual_information"):
            value /= MOST_BITS
        if name == "score":
            value = (value / specialists + 1) / 2
        return min(max(value, 0.0), 1.0)

    def prediction_columns(self, measures: Measures, decision: Calibration) -> list[pa.Array]:
        """Return the rounded mean, its deviation and how probably it is right."""
        deviation_N = self._span * measures.columns["variance"].sqrt()
        texts = self._texts(self._values(measures.mean_NC))
        return [
            pa.array([float(text) for text in texts], pa.float64()),
            pa.array(deviation_N.numpy()),
            pa.array(measures.certainty_N.numpy()),
        ]

    def predicted(self, rows: pa.Table) -> tuple[list[str], list[float]]:
        """Read the means and how probably they are right."""
        texts = [self.parse(value) for value in rows["predicted"].to_pylist()]
        return texts, rows["certainty"].to_pylist()

    def may_have(self, scores: pa.Table, label: str) -> npt.NDArray[np.bool_]:
        """Return nowhere: there are no labels."""
        return np.zeros(len(scores), dtype=np.bool_)

    def named(self, scores: pa.Table) -> pa.Table:
        """Return scores as they are."""
        return scores

    def explain(self, row: Mapping[str, Any]) -> str:
        """Say what is predicted and how far it may be off."""
        apart = f"{row['disagreement']:.2f}"
        clause = "" if apart == "0.00" else f", the specialists disagree by {apart}"
        return f"{self.parse(row['predicted'])} may be off by {row['deviation']:.2g}{clause}"

    def describe(
        self, probs_SNC: Tensor, specialists: Sequence[str], decision: Calibration
    ) -> list[Prediction]:
        """Return the ensemble's number and each specialist's."""
        found = self.measures(probs_SNC, decision)
        opinions = {
            name: (
                self.predict(probs_N2, decision),
                numbers.within(numbers.mean_and_variance(probs_N2.double())[1], TOLERANCE),
            )
            for name, probs_N2 in zip(specialists, probs_SNC, strict=True)
        }
        return shown_predictions(found, self.predict(found.mean_NC, decision), (), opinions)

    def consensus(self, votes: Votes) -> dict[int, str]:
        """Return the mean of the middle third of a sample's votes."""
        rows = last_votes(votes.sample_V, votes.person_V)
        values_V = np.array([float(votes.text_V[row]) for row in rows], np.float64)
        samples_V = votes.sample_V[rows]
        return {
            int(sample): self.parse(numbers.trimmed_mean(values_V[samples_V == sample]))
            for sample in np.unique(samples_V)
        }

    def tied(self, votes: Votes) -> set[int]:
        """Return none: between two numbers there is another."""
        return set()

    def settled(self, votes: Votes, confidence: float) -> set[int]:
        """Return the samples whose people surely are close to their consensus, all erring alike."""
        found = self.consensus(votes)
        rule = [found[int(sample)] for sample in votes.sample_V]
        is_far_V = (self.utility(votes.text_V, rule) < self.right_from).astype(np.int64)
        agreed = one_rate(votes.sample_V, votes.person_V, is_far_V, 2)
        is_sure_N = (agreed.label_N == 0) & (agreed.agreement_N >= confidence)
        return set(agreed.item_N[is_sure_N].tolist())

    def quality(self, rows: pa.Table, targets: Sequence[str]) -> Quality:
        """Return closeness, correlations and errors; calibration is that of the tolerance."""
        predicted, certainty = self.predicted(rows)
        utility_N = self.utility(predicted, targets)
        calibration = reliability(np.array(certainty), utility_N >= self.right_from)
        pair = [np.array([float(text) for text in texts]) for texts in (predicted, targets)]
        return Quality(
            n=len(utility_N),
            utility=Estimate(*mean_interval(utility_N)),
            ece=calibration.error(),
            reliability=calibration,
            correlations={k: Estimate(*each) for k, each in numbers.correlations(*pair).items()},
            errors={k: Estimate(*each) for k, each in numbers.errors(*pair).items()},
        )

    def form(self) -> NumberForm:
        """Return a field for a number of the range."""
        return NumberForm(self._low, self._high)

    def _values(self, mean_N2: Tensor) -> npt.NDArray[np.float64]:
        place_N = mean_N2[..., 0].double().numpy().clip(-0.5, 0.5)
        values_N: npt.NDArray[np.float64] = self._low + (place_N + 0.5) * self._span
        return values_N

    def _texts(self, values_N: npt.NDArray[np.float64]) -> list[str]:
        """Write numbers of the range, to a thousandth of it."""
        digits = max(0, DIGITS - math.floor(math.log10(self._span)))
        rounded_N = values_N.round(digits).clip(self._low, self._high)
        return [self.parse(value) for value in rounded_N.tolist()]


def _closeness(place: FloatArray, targets: Targets) -> FloatArray:
    return (1 - np.abs(place - targets)).clip(0, 1).astype(np.float32)
