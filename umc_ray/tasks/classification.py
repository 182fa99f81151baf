"""One of several classes.

Suffixes: S specialists, N samples, C classes, M models fitted together.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from umc_ray.deferred import Tensor, torch
from umc_ray.errors import DataError
from umc_ray.methods import scoring
from umc_ray.methods.calibration import fit_temperature, reliability
from umc_ray.methods.class_figures import MATTHEWS, POSITIVE, class_figures, recalls
from umc_ray.methods.consensus import is_tied, majority, one_rate
from umc_ray.methods.intervals import mean_interval
from umc_ray.records import FloatArray, IntArray, LearnedFrom
from umc_ray.tasks.forms import ChoiceForm
from umc_ray.tasks.quality import Estimate, Quality
from umc_ray.tasks.spelling import check_labels, find_label, shown
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

LEAST_PROBABILITY = 1e-9
"""A class that is less probable counts as this: a log-loss stays a number."""

MAX_RECALLS = 30
"""With more classes, the recall of each is to be read off the confusions."""


@dataclass(frozen=True)
class Classification:
    """Each sample has exactly one of the labels."""

    labels: tuple[str, ...]

    name: ClassVar[str] = "classification"
    utility_name: ClassVar[str] = "accuracy"
    hub_category: ClassVar[str] = "classification"
    learned_from: ClassVar[LearnedFrom] = "embedding"
    target_type: ClassVar[pa.DataType] = pa.string()
    right_from: ClassVar[float] = 1.0
    measures_about: ClassVar[Mapping[str, str]] = MappingProxyType(
        {
            "confidence": "mean over specialists of their highest probability",
            "disagreement": "mean divergence between the specialists, bits",
            "score": "confidence minus disagreement, summed over specialists",
            "margin": "gap between the two most likely classes of the ensemble",
            "entropy": "entropy of the ensemble's mean, bits",
            "mutual_information": "entropy that the specialists' conflict explains",
        }
    )
    prediction_fields: ClassVar[tuple[pa.Field, ...]] = (
        pa.field("label_1", pa.int16()),  # the ensemble mean's most likely classes, best first
        pa.field("prob_1", pa.float32()),
        pa.field("label_2", pa.int16()),
        pa.field("prob_2", pa.float32()),
    )

    def __post_init__(self) -> None:
        """Check the label set.

        Raises:
            ValueError: there are not at least two different labels, or two of them look the same.
        """
        if len(set(self.labels)) < 2 or len(set(self.labels)) != len(self.labels):
            found = list(self.labels)
            raise ValueError(f"labels must be at least two different names, found {found}")
        check_labels(self.labels)

    @property
    def outputs(self) -> int:
        """One logit for each class."""
        return len(self.labels)

    def parse(self, raw: object, sample: str | None = None) -> str:
        """Return a label; a list of one stands for it, as in other tools' files.

        Raises:
            DataError: it is not in the label set.
        """
        if isinstance(raw, list | tuple) and len(raw) == 1:
            raw = raw[0]
        if isinstance(raw, list | tuple) and raw:
            found = ", ".join(shown(plain_text(each)) for each in raw)
            raise DataError(
                f"{len(raw)} labels, {found}, where there is one; kind: multi_label has several"
            )
        return find_label(plain_text(raw), self.labels)

    def value(self, text: str) -> object:
        """Return the label."""
        return text

    def of_rating(self, rating: int) -> str | None:
        """Return the first label for a rating below 0, the last for one above."""
        if rating == 0:
            return None
        return self.labels[0] if rating < 0 else self.labels[-1]

    def encode(self, texts: Sequence[str]) -> Targets:
        """Return class numbers, shape N."""
        number = {label: i for i, label in enumerate(self.labels)}
        return np.array([number[text] for text in texts], dtype=np.int64)

    def strata(self, texts: Sequence[str]) -> IntArray:
        """Return class numbers."""
        numbers: IntArray = self.encode(texts)
        return numbers

    def counts(self, texts: Sequence[str]) -> dict[str, int]:
        """Count the samples of each class."""
        found = Counter(texts)
        return {label: found[label] for label in self.labels if found[label]}

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

    def pooling(self, probs_SNC: Tensor) -> Callable[[Tensor], Tensor]:
        """Pool by the weighted product of the class probabilities, scaled to sum 1."""
        return scoring.logarithmic_pooling(probs_SNC)

    def log_loss(self, mean_NC: Tensor, targets: Tensor) -> Tensor:
        """Return minus the logarithm of the right class's probability."""
        chosen_N = mean_NC.gather(1, targets[:, None])[:, 0]
        return -chosen_N.clamp_min(LEAST_PROBABILITY).log()

    def decide(self, mean_NC: FloatArray, targets: Targets, weights_N: FloatArray) -> Calibration:
        """Need nothing: the most likely class is predicted."""
        return {}

    def measures(self, probs_SNC: Tensor, decision: Calibration) -> Measures:
        """Measure samples by the specialists' class probabilities."""
        found = scoring.score(probs_SNC, weights_of(decision))
        columns = {name: getattr(found, f"{name}_N") for name in self.measures_about}
        decided_N = self._decided(found.mean_NC, decision)
        right_N = found.mean_NC.gather(1, decided_N[:, None])[:, 0]
        return Measures(found.mean_NC, columns, right_N, right_N)

    def predict(self, mean_NC: Tensor, decision: Calibration) -> list[str]:
        """Return the most likely class, or by the threshold of a group."""
        return [self.labels[i] for i in self._decided(mean_NC, decision).tolist()]

    def _decided(self, mean_NC: Tensor, decision: Calibration) -> Tensor:
        """Return class numbers; a shift of the log-odds is in favor of the second of two."""
        shift = decision.get("shift", 0.0)
        assert isinstance(shift, float)
        return mean_NC.argmax(1) if not shift else (_log_odds(mean_NC) + shift > 0).long()

    def utility(self, predicted: Sequence[str], targets: Sequence[str]) -> FloatArray:
        """Return 1 for the right class, else 0."""
        return np.array([a == b for a, b in zip(predicted, targets, strict=True)], np.float32)

    def raw_utility(self, outputs_MNC: FloatArray, targets: Targets) -> FloatArray:
        """Return 1 where the largest logit is that of the right class, else 0."""
        right_MN: FloatArray = (outputs_MNC.argmax(2) == targets).astype(np.float32)
        return right_MN

    def acquisition(self, measures: Measures, name: str) -> Tensor:
        """Return one of the acquisition functions of classification."""
        columns = {f"{key}_N": values_N for key, values_N in measures.columns.items()}
        return scoring.acquisition(scoring.Scores(measures.mean_NC, **columns), name)

    def urgency(self, value: float, name: str, specialists: int) -> float:
        """Scale an acquisition value to 0..1."""
        return scoring.urgency(value, name, len(self.labels), specialists)

    def prediction_columns(self, measures: Measures, decision: Calibration) -> list[pa.Array]:
        """Return what `predict` says, and the most likely of the other classes."""
        label_1 = self._decided(measures.mean_NC, decision)
        prob_1 = measures.mean_NC.gather(1, label_1[:, None])[:, 0]
        prob_2, label_2 = measures.mean_NC.scatter(1, label_1[:, None], -1.0).max(1)
        columns = [label_1, prob_1, label_2, prob_2]
        return [
            pa.array(np.ascontiguousarray(column), field.type, safe=False)
            for column, field in zip(columns, self.prediction_fields, strict=True)
        ]

    def predicted(self, rows: pa.Table) -> tuple[list[str], list[float]]:
        """Read the most likely class and its probability."""
        names = [self.labels[i] for i in rows["label_1"].to_pylist()]
        return names, rows["prob_1"].to_pylist()

    def may_have(self, scores: pa.Table, label: str) -> npt.NDArray[np.bool_]:
        """Return where a class is one of the two most likely ones."""
        number = self.labels.index(label)
        first_N: npt.NDArray[np.bool_] = scores["label_1"].to_numpy() == number
        second_N: npt.NDArray[np.bool_] = scores["label_2"].to_numpy() == number
        return first_N | second_N

    def named(self, scores: pa.Table) -> pa.Table:
        """Return scores with the names of labels."""
        return with_names(scores, ("label_1", "label_2"), self.labels)

    def explain(self, row: Mapping[str, Any]) -> str:
        """Name the two most likely classes and how far they are apart."""
        first, second = self.labels[int(row["label_1"])], self.labels[int(row["label_2"])]
        gap = 100 * abs(row["prob_1"] - row["prob_2"])
        return f"{first} and {second} are {gap:.0f} points apart{disagreement_clause(row)}"

    def describe(
        self, probs_SNC: Tensor, specialists: Sequence[str], decision: Calibration
    ) -> list[Prediction]:
        """Return class probabilities, and each specialist's most likely class."""
        found = self.measures(probs_SNC, decision)
        opinions = {
            name: (self.predict(probs_NC, decision), probs_NC.amax(1))
            for name, probs_NC in zip(specialists, probs_SNC, strict=True)
        }
        return shown_predictions(
            found, self.predict(found.mean_NC, decision), self.labels, opinions
        )

    def consensus(self, votes: Votes) -> dict[int, str]:
        """Return the class with most votes; a tie is drawn by the number of the sample."""
        numbers = self.encode(votes.text_V)
        found = majority(votes.sample_V, votes.person_V, numbers, len(self.labels))
        labels = [self.labels[i] for i in found.label_N.tolist()]
        return dict(zip(found.item_N.tolist(), labels, strict=True))

    def tied(self, votes: Votes) -> set[int]:
        """Return the samples with several classes of most votes."""
        numbers = self.encode(votes.text_V)
        found = majority(votes.sample_V, votes.person_V, numbers, len(self.labels))
        return set(found.item_N[is_tied(found.soft_NC)].tolist())

    def settled(self, votes: Votes, confidence: float) -> set[int]:
        """Return the samples with a class that is probable enough, all people erring alike."""
        numbers = self.encode(votes.text_V)
        found = one_rate(votes.sample_V, votes.person_V, numbers, len(self.labels))
        return set(found.item_N[found.agreement_N >= confidence].tolist())

    def quality(self, rows: pa.Table, targets: Sequence[str]) -> Quality:
        """Return accuracy, what it hides of rare classes, calibration and confusions."""
        top_N = rows["prob_1"].to_numpy()
        predicted_N = rows["label_1"].to_numpy().astype(np.int64)
        truth_N = self.encode(targets)
        right_N = predicted_N == truth_N
        calibration = reliability(top_N, right_N)
        confusion_CC = _confusion(truth_N, predicted_N, len(self.labels))
        figures = self._figures(confusion_CC)
        return Quality(
            n=len(truth_N),
            utility=Estimate(*mean_interval(right_N)),
            ece=calibration.error(),
            reliability=calibration,
            figures=figures,
            correlations={MATTHEWS: figures.pop(MATTHEWS)},
            confusion=confusion_CC.tolist(),
        )

    def _figures(self, confusion_CC: npt.NDArray[np.int64]) -> dict[str, Estimate]:
        figures = class_figures(confusion_CC)
        if POSITIVE in figures:  # named, as people may think of either as the positive one
            figures[f"F1 of {self.labels[1]}"] = figures.pop(POSITIVE)
        if len(self.labels) <= MAX_RECALLS:
            found = recalls(confusion_CC).items()
            figures |= {f"recall of {self.labels[number]}": each for number, each in found}
        return {name: Estimate(*each) for name, each in figures.items()}

    def form(self) -> ChoiceForm:
        """Return a choice of one label."""
        return ChoiceForm(self.labels)


def _log_odds(mean_NC: Tensor) -> Tensor:
    """Return the log-odds of the second of two classes."""
    log_NC = mean_NC.clamp_min(LEAST_PROBABILITY).log()
    return log_NC[:, 1] - log_NC[:, 0]


def _confusion(truth_N: IntArray, predicted_N: IntArray, classes: int) -> npt.NDArray[np.int64]:
    """Count true by predicted classes."""
    counts_CC = np.zeros((classes, classes), dtype=np.int64)
    np.add.at(counts_CC, (truth_N, predicted_N), 1)
    return counts_CC
