"""What a kind of task is: everything that depends on the kind of answer.

At rest a target is text: in the pool's known answers, in the annotation store, in sheets and in
labels. `parse` is the only way in, so that equal answers are equal texts. Models see arrays, which
`encode` makes of texts; ensembles give outputs, of which the kind makes measures and predictions.

Suffixes: S specialists, N samples, C outputs of a specialist, M models fitted together, V votes.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from umc_ray.deferred import Tensor, torch
from umc_ray.methods.consensus import last_votes
from umc_ray.records import FloatArray, IntArray, LearnedFrom
from umc_ray.tasks.forms import Form
from umc_ray.tasks.quality import Quality

Targets = npt.NDArray[Any]
"""Targets as models see them, N first: class numbers N, or a row of numbers each."""

Calibration = dict[str, float | list[float] | dict[str, float]]
"""What corrects a specialist's outputs, or turns the ensemble's mean into predictions; JSON."""

Loss = Callable[[Tensor, Tensor], Tensor]
"""From outputs MNC and targets (N first) to losses MN."""

SHOWN_DIGITS = 4


@dataclass(frozen=True)
class Measures:
    """What an ensemble says of N samples; float32 tensors.

    `expected_utility_N` is what the ensemble expects its predictions to be worth, 0 to 1;
    `certainty_N` the probability that they are right, as `right_from` says.
    """

    mean_NC: Tensor
    columns: Mapping[str, Tensor]
    expected_utility_N: Tensor
    certainty_N: Tensor


@dataclass(frozen=True)
class Votes:
    """V answers of people: the sample, the person (numbered) and the text of each."""

    sample_V: IntArray
    person_V: IntArray
    text_V: tuple[str, ...]

    def by_sample(self) -> dict[int, list[str]]:
        """Return the last vote of each person, by sample."""
        given: dict[int, list[str]] = {}
        for row in last_votes(self.sample_V, self.person_V).tolist():
            given.setdefault(int(self.sample_V[row]), []).append(self.text_V[row])
        return given


@dataclass(frozen=True)
class Prediction:
    """What the ensemble and each specialist predict for one sample, for people to look at.

    `shares` are probabilities of the form's options, where the kind has options.
    """

    predicted: str
    confidence: float
    shares: Mapping[str, float]
    specialists: Mapping[str, tuple[str, float]]
    measures: Mapping[str, float]


class TaskKind(Protocol):
    """A kind of task, with the label space of one task.

    An instance is frozen, cheap to send to workers, and equal to another of the same task. It is
    made of the labels that the campaign names, none if it leaves them out, and of options that are
    fields beside them, such as `range`. It raises a ValueError if they do not fit.
    """

    name: ClassVar[str]
    """What a campaign calls it: `kind: <name>`."""
    utility_name: ClassVar[str]
    """What the mean utility is called: accuracy, Jaccard index, ..."""
    hub_category: ClassVar[str]
    """What the Hugging Face Hub calls such tasks, after the modality."""
    target_type: ClassVar[pa.DataType]
    """Of the label column of a release: a key of HF_TYPES, a list of one, or a struct of these."""
    learned_from: ClassVar[LearnedFrom]
    """Whether heads can learn it, or only networks that are fine-tuned on tokens."""
    right_from: ClassVar[float]
    """The utility from which a prediction is right: 1, or less where none is exact."""
    measures_about: ClassVar[Mapping[str, str]]
    """The measures by name, each with a line that explains it; people who answer see those that are
    called margin, score and disagreement."""
    prediction_fields: ClassVar[tuple[pa.Field, ...]]
    """The columns of the scores that hold the ensemble's prediction; none is named as a measure."""

    def __hash__(self) -> int:
        """Be a key of a cache."""
        ...

    @property
    def labels(self) -> tuple[str, ...]:
        """The label space, in the order of outputs; empty where the kind has none."""
        ...

    @property
    def outputs(self) -> int:
        """How many numbers a specialist gives for a sample."""
        ...

    def parse(self, raw: object, sample: str | None = None) -> str:
        """Return the text of an answer, from a file, a sheet, the page or an API.

        A list of one answer stands for it. How a label may be spelled is one rule for all:
        `find_label` in tasks/spelling.py. A piece of a `sample`, if known, must stand there.

        Raises:
            DataError: it is no answer to this task; says what was found and what is expected.
        """
        ...

    def value(self, text: str) -> object:
        """Return an answer as a release holds it, of `target_type`."""
        ...

    def of_rating(self, rating: int) -> str | None:
        """Return what a number of a source's column `ratings` says; None: no answer.

        Raises:
            DataError: the kind cannot tell.
        """
        ...

    def encode(self, texts: Sequence[str]) -> Targets:
        """Return answers as models see them."""
        ...

    def strata(self, texts: Sequence[str]) -> IntArray:
        """Return one number from 0 per answer: what the search for rare classes goes by."""
        ...

    def counts(self, texts: Sequence[str]) -> dict[str, int]:
        """Count answers by label, without zeros; empty where the kind has no labels."""
        ...

    def loss(self, outputs_MNC: Tensor, targets: Tensor) -> Tensor:
        """Return the loss of each sample for each model, shape MN."""
        ...

    def calibrate(
        self, outputs_NC: FloatArray, targets: Targets, weights_N: FloatArray
    ) -> Calibration:
        """Fit what corrects held-out outputs of a specialist; of none, what changes nothing."""
        ...

    def activation(self, calibrations: Sequence[Calibration]) -> Callable[[Tensor], Tensor]:
        """Return the function from outputs SNC to calibrated probabilities SNC.

        Without labels they are any numbers whose plain mean is an ensemble's.
        """
        ...

    def pooling(self, probs_SNC: Tensor) -> Callable[[Tensor], Tensor]:
        """Return the function from weights S to the ensemble's probabilities NC, log-linear ones.

        Gradients pass through it.
        """
        ...

    def log_loss(self, mean_NC: Tensor, targets: Tensor) -> Tensor:
        """Return the log-loss of each sample's probabilities, shape N."""
        ...

    def decide(self, mean_NC: FloatArray, targets: Targets, weights_N: FloatArray) -> Calibration:
        """Fit on held-out means what turns the ensemble's mean into predictions.

        All that take a decision must do with an empty one too. Training adds `weights` to it, one
        for each specialist, as `combine` takes them; without them, the mean is a plain one. Of a
        task with several domains, it also has `domains`: see `in_domain`.
        """
        ...

    def measures(self, probs_SNC: Tensor, decision: Calibration) -> Measures:
        """Measure N samples by the calibrated probabilities of S specialists."""
        ...

    def predict(self, mean_NC: Tensor, decision: Calibration) -> list[str]:
        """Return the ensemble's answers."""
        ...

    def utility(self, predicted: Sequence[str], targets: Sequence[str]) -> FloatArray:
        """Return what each prediction is worth, 0 to 1."""
        ...

    def raw_utility(self, outputs_MNC: FloatArray, targets: Targets) -> FloatArray:
        """Return what uncalibrated models' predictions are worth, shape MN, 0 to 1."""
        ...

    def acquisition(self, measures: Measures, name: str) -> Tensor:
        """Say how much each sample deserves a person's answer: higher = ask first.

        A campaign may name any that `selection.acquisition` lists, for all of its tasks.

        Raises:
            ConfigError: the kind has no acquisition function of this name.
        """
        ...

    def urgency(self, value: float, name: str, specialists: int) -> float:
        """Scale a value of an acquisition function of so many specialists to 0 (sure) to 1."""
        ...

    def prediction_columns(self, measures: Measures, decision: Calibration) -> list[pa.Array]:
        """Return the columns of `prediction_fields`."""
        ...

    def predicted(self, rows: pa.Table) -> tuple[list[str], list[float]]:
        """Read the answers and their probabilities back from stored prediction columns."""
        ...

    def may_have(self, scores: pa.Table, label: str) -> npt.NDArray[np.bool_]:
        """Return which samples may have one of the `labels`, by their stored scores.

        These are the samples of which the ensemble says so, and those where it says so next.
        """
        ...

    def named(self, scores: pa.Table) -> pa.Table:
        """Return stored scores with names in place of the numbers of labels."""
        ...

    def explain(self, row: Mapping[str, Any]) -> str:
        """Say in half a sentence why a person should look, from a row of stored scores."""
        ...

    def describe(
        self, probs_SNC: Tensor, specialists: Sequence[str], decision: Calibration
    ) -> list[Prediction]:
        """Return what people are shown of each sample's predictions; `specialists` has S names."""
        ...

    def consensus(self, votes: Votes) -> dict[int, str]:
        """Return one answer from those of several people, by sample in ascending order.

        The last vote of each person counts.
        """
        ...

    def tied(self, votes: Votes) -> set[int]:
        """Return the samples whose consensus was drawn: the votes speak as much for another."""
        ...

    def settled(self, votes: Votes, confidence: float) -> set[int]:
        """Return the samples whose answer is sure enough to need no more votes."""
        ...

    def quality(self, rows: pa.Table, targets: Sequence[str]) -> Quality:
        """Compare stored predictions with known answers."""
        ...

    def form(self) -> Form:
        """Return what people fill in: on the page, in a sheet, in Label Studio."""
        ...


def weights_of(decision: Calibration) -> Tensor | None:
    """Return the weights of the specialists, if a decision has any."""
    return torch.tensor(decision["weights"]) if "weights" in decision else None


def agreement(kind: TaskKind, label: str, votes: Sequence[str]) -> float:
    """Return how far votes agree with a label: their mean utility against it, 0 to 1."""
    return float(np.mean(kind.utility(list(votes), [label] * len(votes))))


def disagreement_clause(row: Mapping[str, Any]) -> str:
    """Say how far the specialists disagree, as the end of a reason; nothing where they agree."""
    value = f"{row['disagreement']:.2f}"
    return "" if value == "0.00" else f", the specialists disagree by {value} bit"


def shown_predictions(
    measures: Measures,
    predicted: Sequence[str],
    labels: Sequence[str],
    specialists: Mapping[str, tuple[Sequence[str], Tensor]],
) -> list[Prediction]:
    """Return what people see of N samples: probabilities and measures, rounded.

    Args:
        measures: of the samples; its means are the shares of the labels.
        predicted: what the ensemble predicts, shape N.
        labels: one for each column of the means; none where these are no shares.
        specialists: by name, what each predicts and how certain it is, both of shape N.
    """

    def rounded(values: Tensor) -> list[float]:
        return [round(value, SHOWN_DIGITS) for value in values.tolist()]

    shares_NC = [rounded(mean_C) for mean_C in measures.mean_NC]
    columns = {name: rounded(values_N) for name, values_N in measures.columns.items()}
    opinions = {
        name: (texts, rounded(certain_N)) for name, (texts, certain_N) in specialists.items()
    }
    certainty_N = measures.certainty_N.tolist()
    return [
        Prediction(
            predicted=text,
            confidence=certainty_N[i],
            shares=dict(zip(labels, shares_NC[i], strict=bool(labels))),
            specialists={name: (texts[i], values[i]) for name, (texts, values) in opinions.items()},
            measures={name: values[i] for name, values in columns.items()},
        )
        for i, text in enumerate(predicted)
    ]


def with_names(scores: pa.Table, columns: Sequence[str], labels: Sequence[str]) -> pa.Table:
    """Replace numbers of labels by names, in columns of numbers or of lists of them."""
    names = pa.array(labels, pa.string())
    for column in columns:
        numbers = scores[column].combine_chunks()
        if pa.types.is_list(numbers.type):
            named = pa.ListArray.from_arrays(numbers.offsets, names.take(numbers.values))
        else:
            named = names.take(numbers)
        scores = scores.set_column(scores.schema.get_field_index(column), column, named)
    return scores


def plain_text(raw: object) -> str:
    """Return a cell as the campaign file spells it: `true` for True, `3` for 3.0."""
    if raw is None:
        return ""
    if isinstance(raw, bool):
        return str(raw).lower()
    if isinstance(raw, float) and raw.is_integer():  # an int column with nulls, by pandas
        return str(int(raw))
    return str(raw)
