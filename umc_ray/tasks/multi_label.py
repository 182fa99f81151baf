"""Any number of labels per sample, each judged for itself.

Suffixes: S specialists, N samples, C labels, M models fitted together, V votes.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from umc_ray.deferred import Tensor, torch
from umc_ray.errors import DataError
from umc_ray.methods.calibration import reliability
from umc_ray.methods.consensus import last_votes, one_rate
from umc_ray.methods.intervals import mean_interval
from umc_ray.methods.multi_label import (
    binary_disagreement,
    binary_entropy,
    f1_thresholds,
    figures,
    fit_scale_and_shift,
    jaccard,
    odds_pooling,
)
from umc_ray.records import FloatArray, IntArray, LearnedFrom
from umc_ray.tasks.acquisition import by_measures
from umc_ray.tasks.forms import NONE, SEPARATOR, ChoiceForm, says_none
from umc_ray.tasks.quality import Estimate, Quality
from umc_ray.tasks.spelling import check_labels, find_label
from umc_ray.tasks.task import (
    Calibration,
    Measures,
    Prediction,
    Targets,
    Votes,
    disagreement_clause,
    plain_text,
    shown_predictions,
    weights_of,
    with_names,
)


@dataclass(frozen=True)
class MultiLabel:
    """Each sample has a set of the labels, which may be empty."""

    labels: tuple[str, ...]

    name: ClassVar[str] = "multi_label"
    utility_name: ClassVar[str] = "Jaccard index"
    hub_category: ClassVar[str] = "classification"
    learned_from: ClassVar[LearnedFrom] = "embedding"
    target_type: ClassVar[pa.DataType] = pa.list_(pa.string())
    right_from: ClassVar[float] = 1.0
    measures_about: ClassVar[Mapping[str, str]] = MappingProxyType(
        {
            "confidence": "mean over specialists and labels of the likelier side's probability",
            "disagreement": "mean divergence between the specialists over labels, bits",
            "score": "confidence minus disagreement, summed over specialists",
            "margin": "distance of the label nearest to its threshold, 0 to 1",
            "entropy": "mean entropy of the labels by the ensemble's mean, bits",
            "mutual_information": "mean entropy of labels that specialists' conflict explains",
        }
    )
    prediction_fields: ClassVar[tuple[pa.Field, ...]] = (
        pa.field("predicted", pa.list_(pa.int16())),  # labels above their thresholds
        pa.field("certainty", pa.float32()),  # probability that exactly these are right
        pa.field("nearest", pa.int16()),  # the label nearest to its threshold, and its probability
        pa.field("nearest_prob", pa.float32()),
    )

    def __post_init__(self) -> None:
        """Check the label set.

        Raises:
            ValueError: labels are missing, look the same, or could be read as several.
        """
        if not self.labels or len(set(self.labels)) != len(self.labels):
            found = list(self.labels)
            raise ValueError(f"labels must be different names, at least one, found {found}")
        for label in self.labels:
            if SEPARATOR.strip() in label or label.casefold() == NONE or label != label.strip():
                raise ValueError(
                    f"label {label!r} of a multi_label task must be a name without '|' that does "
                    f"not begin or end with a space, and not {NONE}"
                )
        check_labels(self.labels)

    @property
    def outputs(self) -> int:
        """One logit for each label."""
        return len(self.labels)

    def parse(self, raw: object, sample: str | None = None) -> str:
        """Return the labels in the order of the label set, from a list or from `a | b`.

        Raises:
            DataError: one of them is not in the label set.
        """
        if isinstance(raw, list | tuple):
            given = [plain_text(each).strip() for each in raw]
        else:
            text = plain_text(raw).strip()
            given = [] if says_none(text) else [each.strip() for each in text.split("|")]
        return self.form().text([find_label(each, self.labels) for each in given])

    def value(self, text: str) -> object:
        """Return the list of labels."""
        return self.form().chosen(text)

    def of_rating(self, rating: int) -> str | None:
        """Refuse: a rating is no set of labels.

        Raises:
            DataError: always.
        """
        raise DataError(f"a multi_label task cannot use recorded ratings such as {rating}")

    def encode(self, texts: Sequence[str]) -> Targets:
        """Return 0 or 1 for each label, shape NC."""
        targets_NC = np.zeros((len(texts), len(self.labels)), dtype=np.float32)
        form, number = self.form(), {label: i for i, label in enumerate(self.labels)}
        for row, text in enumerate(texts):
            targets_NC[row, [number[label] for label in form.chosen(text)]] = 1
        return targets_NC

    def strata(self, texts: Sequence[str]) -> IntArray:
        """Return each answer's rarest label among these answers; C for an empty set."""
        targets_NC = self.encode(texts) > 0
        counts_C = targets_NC.sum(0)
        ranked_NC = np.where(targets_NC, counts_C, len(texts) + 1)
        rarest_N: IntArray = np.where(targets_NC.any(1), ranked_NC.argmin(1), len(self.labels))
        return rarest_N.astype(np.int64)

    def counts(self, texts: Sequence[str]) -> dict[str, int]:
        """Count the samples of each label; a sample counts for each of its labels."""
        counts_C = self.encode(texts).sum(0).astype(int).tolist()
        return {label: n for label, n in zip(self.labels, counts_C, strict=True) if n}

    def loss(self, outputs_MNC: Tensor, targets: Tensor) -> Tensor:
        """Return the binary cross-entropy, summed over labels."""
        losses_MNC = torch.nn.functional.binary_cross_entropy_with_logits(
            outputs_MNC, targets.expand_as(outputs_MNC), reduction="none"
        )
        return losses_MNC.sum(-1)

    def calibrate(
        self, outputs_NC: FloatArray, targets: Targets, weights_N: FloatArray
    ) -> Calibration:
        """Fit a scale and a shift for each label."""
        scales, shifts = fit_scale_and_shift(outputs_NC, targets, weights_N)
        return {"scales": scales, "shifts": shifts}

    def activation(self, calibrations: Sequence[Calibration]) -> Callable[[Tensor], Tensor]:
        """Return the sigmoid of each specialist's scaled and shifted logits."""
        scales_S1C = torch.tensor([each["scales"] for each in calibrations])[:, None]
        shifts_S1C = torch.tensor([each["shifts"] for each in calibrations])[:, None]
        return lambda logits_SNC: torch.sigmoid(logits_SNC.float() * scales_S1C + shifts_S1C)

    def pooling(self, probs_SNC: Tensor) -> Callable[[Tensor], Tensor]:
        """Pool by the sigmoid of the weighted log-odds of each label."""
        return odds_pooling(probs_SNC)

    def log_loss(self, mean_NC: Tensor, targets: Tensor) -> Tensor:
        """Return the binary cross-entropy, summed over labels."""
        losses_NC = torch.nn.functional.binary_cross_entropy(
            mean_NC, targets.to(mean_NC), reduction="none"
        )
        return losses_NC.sum(1)

    def decide(self, mean_NC: FloatArray, targets: Targets, weights_N: FloatArray) -> Calibration:
        """Fit a threshold for each label, for F1."""
        return {"thresholds": f1_thresholds(mean_NC, targets, weights_N)}

    def measures(self, probs_SNC: Tensor, decision: Calibration) -> Measures:
        """Measure samples by the specialists' probabilities of each label."""
        mixed_NC, weights_S = probs_SNC.mean(0), weights_of(decision)
        mean_NC = mixed_NC if weights_S is None else self.pooling(probs_SNC)(weights_S)
        sides_SNC = torch.maximum(probs_SNC, 1 - probs_SNC)
        entropy_SNC, entropy_NC = binary_entropy(probs_SNC), binary_entropy(mean_NC)
        information_N = (binary_entropy(mixed_NC) - entropy_SNC.mean(0)).clamp_min(0).mean(1)
        confidence_N = sides_SNC.mean((0, 2))
        disagreement_N = binary_disagreement(probs_SNC, entropy_SNC)
        picked_NC = mean_NC >= self._thresholds(decision)
        columns = {
            "confidence": confidence_N,
            "disagreement": disagreement_N,
            "score": len(probs_SNC) * (confidence_N - disagreement_N),
            "margin": self._distance(mean_NC, decision).amin(1),
            "entropy": entropy_NC.mean(1),
            "mutual_information": information_N,
        }
        right_NC = torch.where(picked_NC, mean_NC, 1 - mean_NC)
        hits_N = torch.where(picked_NC, mean_NC, 0).sum(1)
        union_N = picked_NC.sum(1) + torch.where(picked_NC, 0, mean_NC).sum(1)
        none_N = (1 - mean_NC).prod(1)  # expected Jaccard of an empty prediction
        expected_N = torch.where(picked_NC.any(1), hits_N / union_N.clamp_min(1), none_N)
        return Measures(mean_NC, columns, expected_N, right_NC.prod(1))

    def predict(self, mean_NC: Tensor, decision: Calibration) -> list[str]:
        """Return the labels above their thresholds."""
        return self._texts((mean_NC >= self._thresholds(decision)).numpy())

    def utility(self, predicted: Sequence[str], targets: Sequence[str]) -> FloatArray:
        """Return the Jaccard index of the two sets."""
        return jaccard(self.encode(predicted) > 0, self.encode(targets) > 0)

    def raw_utility(self, outputs_MNC: FloatArray, targets: Targets) -> FloatArray:
        """Return the Jaccard index of the labels with a positive logit."""
        return jaccard(outputs_MNC > 0, targets > 0)

    def acquisition(self, measures: Measures, name: str) -> Tensor:
        """Return one of ACQUISITIONS.

        Raises:
            ConfigError: there is no such acquisition function.
        """
        return by_measures(measures, name, 1 - measures.columns["margin"])

    def urgency(self, value: float, name: str, specialists: int) -> float:
        """Scale an acquisition value to 0..1; a score is -S to -S/2 where specialists agree."""
        if name == "score":
            value = (value / specialists + 1) / 1.5
        return min(max(value, 0.0), 1.0)

    def prediction_columns(self, measures: Measures, decision: Calibration) -> list[pa.Array]:
        """Return the predicted labels, and the label nearest to its threshold."""
        picked_NC = (measures.mean_NC >= self._thresholds(decision)).numpy()
        nearest_N = self._distance(measures.mean_NC, decision).argmin(1)
        offsets = np.append(0, np.cumsum(picked_NC.sum(1)))
        numbers = pa.array(np.nonzero(picked_NC)[1].astype(np.int16))
        probs_N = measures.mean_NC.gather(1, nearest_N[:, None])[:, 0]
        return [
            pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), numbers),
            pa.array(measures.certainty_N.numpy()),
            pa.array(nearest_N.numpy().astype(np.int16)),
            pa.array(probs_N.numpy()),
        ]

    def predicted(self, rows: pa.Table) -> tuple[list[str], list[float]]:
        """Read the predicted labels and the probability that exactly they are right."""
        return self._texts(self._picked(rows)), rows["certainty"].to_pylist()

    def may_have(self, scores: pa.Table, label: str) -> npt.NDArray[np.bool_]:
        """Return where a label is predicted, or is the one nearest to that."""
        number = self.labels.index(label)
        predicted_N = np.array([number in each for each in scores["predicted"].to_pylist()], bool)
        nearest_N: npt.NDArray[np.bool_] = scores["nearest"].to_numpy() == number
        return predicted_N | nearest_N

    def named(self, scores: pa.Table) -> pa.Table:
        """Return scores with the names of labels."""
        return with_names(scores, ("predicted", "nearest"), self.labels)

    def explain(self, row: Mapping[str, Any]) -> str:
        """Name the label that is least decided."""
        label, prob = self.labels[int(row["nearest"])], 100 * row["nearest_prob"]
        return f"{label} is the least certain label ({prob:.0f} %){disagreement_clause(row)}"

    def describe(
        self, probs_SNC: Tensor, specialists: Sequence[str], decision: Calibration
    ) -> list[Prediction]:
        """Return label probabilities, and the labels that each specialist predicts."""
        found = self.measures(probs_SNC, decision)
        picked_SNC = probs_SNC >= self._thresholds(decision)
        right_SN = torch.where(picked_SNC, probs_SNC, 1 - probs_SNC).prod(2)
        opinions = {
            name: (self._texts(picked_SNC[s].numpy()), right_SN[s])
            for s, name in enumerate(specialists)
        }
        return shown_predictions(
            found, self.predict(found.mean_NC, decision), self.labels, opinions
        )

    def consensus(self, votes: Votes) -> dict[int, str]:
        """Return the labels that more than half of a sample's people gave."""
        samples_N, shares_NC = self._shares(votes)
        return dict(zip(samples_N.tolist(), self._texts(shares_NC > 1 / 2), strict=True))

    def tied(self, votes: Votes) -> set[int]:
        """Return the samples of which half of the people gave a label and half did not."""
        samples_N, shares_NC = self._shares(votes)
        return set(samples_N[(shares_NC == 1 / 2).any(1)].tolist())

    def _shares(self, votes: Votes) -> tuple[IntArray, npt.NDArray[np.float64]]:
        """Return the samples with votes, and which share of the people gave each label."""
        rows = last_votes(votes.sample_V, votes.person_V)
        samples_N, row_V = np.unique(votes.sample_V[rows], return_inverse=True)
        given_NC = np.zeros((len(samples_N), len(self.labels)))
        np.add.at(given_NC, row_V, self.encode(votes.text_V)[rows])
        return samples_N, given_NC / np.bincount(row_V, minlength=len(samples_N))[:, None]

    def settled(self, votes: Votes, confidence: float) -> set[int]:
        """Return the samples all of whose labels are sure enough, people erring alike on each."""
        if not votes.text_V:
            return set()
        given_VC = self.encode(votes.text_V).astype(np.int64)
        samples_N, row_V = np.unique(votes.sample_V, return_inverse=True)
        pair_VC = row_V[:, None] * len(self.labels) + np.arange(len(self.labels))
        person_VC = np.repeat(votes.person_V[:, None], len(self.labels), 1)
        found = one_rate(pair_VC.ravel(), person_VC.ravel(), given_VC.ravel(), 2)
        sure_NC = found.agreement_N.reshape(len(samples_N), len(self.labels))
        return set(samples_N[sure_NC.min(1) >= confidence].tolist())

    def quality(self, rows: pa.Table, targets: Sequence[str]) -> Quality:
        """Return Jaccard index, F1 and exact match; calibration is that of exact matches."""
        predicted_NC, targets_NC = self._picked(rows), self.encode(targets) > 0
        exact_N = (predicted_NC == targets_NC).all(1)
        calibration = reliability(rows["certainty"].to_numpy(), exact_N)
        return Quality(
            n=len(targets),
            utility=Estimate(*mean_interval(jaccard(predicted_NC, targets_NC))),
            ece=calibration.error(),
            reliability=calibration,
            figures={
                name: Estimate(*found) for name, found in figures(predicted_NC, targets_NC).items()
            },
        )

    def form(self) -> ChoiceForm:
        """Return a choice of any number of labels."""
        return ChoiceForm(self.labels, multiple=True)

    def _thresholds(self, decision: Calibration) -> Tensor:
        return torch.tensor(decision.get("thresholds", [0.5] * len(self.labels)))

    def _distance(self, mean_NC: Tensor, decision: Calibration) -> Tensor:
        """Return how far each label is from its threshold, as a share of the way there is."""
        thresholds_C = self._thresholds(decision)
        above_NC = (mean_NC - thresholds_C) / (1 - thresholds_C)
        return torch.where(mean_NC >= thresholds_C, above_NC, 1 - mean_NC / thresholds_C)

    def _picked(self, rows: pa.Table) -> npt.NDArray[np.bool_]:
        picked_NC = np.zeros((len(rows), len(self.labels)), dtype=np.bool_)
        for row, numbers in enumerate(rows["predicted"].to_pylist()):
            picked_NC[row, numbers] = True
        return picked_NC

    def _texts(self, picked_NC: npt.NDArray[np.bool_]) -> list[str]:
        form = self.form()
        return [form.text([self.labels[i] for i in np.flatnonzero(row_C)]) for row_C in picked_NC]
