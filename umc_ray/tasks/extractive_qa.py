"""Questions whose answer is a span of a context, or that have none.

Specialists read the tokens of question and context, and give lists of candidate spans:
methods/candidates.py. An answer is as good as its words: F1 by the rules of SQuAD.

Suffixes: S specialists, N samples, C numbers of a list, K candidates, U of all specialists, M
models fitted together, G right answers.
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
from umc_ray.methods import candidates, spans, squad
from umc_ray.methods.calibration import fit_temperature, reliability
from umc_ray.methods.candidates import Candidates
from umc_ray.methods.intervals import mean_interval
from umc_ray.methods.text_pair import parts_of
from umc_ray.records import FloatArray, IntArray, LearnedFrom
from umc_ray.tasks.acquisition import by_measures
from umc_ray.tasks.quality import Estimate, Quality
from umc_ray.tasks.span_answers import (
    NO_ANSWER,
    Span,
    answer_text,
    first_text,
    located,
    quoted,
    read_spans,
    spans_of,
    texts_of,
)
from umc_ray.tasks.span_form import SpanForm
from umc_ray.tasks.task import (
    Calibration,
    Measures,
    Prediction,
    Targets,
    Votes,
    disagreement_clause,
    shown_predictions,
    weights_of,
)

RIGHT = 6
"""Right answers of a question that models see; SQuAD has at most as many."""

NO_TARGET = (-2, 0, -1)
"""Stands where a question has fewer; the key of no text that is likely."""

LEAST_PROBABILITY = 1e-9


@dataclass(frozen=True)
class ExtractiveQA:
    """Each question has an answer in its context, maybe in several places, or none."""

    labels: tuple[str, ...] = ()

    name: ClassVar[str] = "extractive_qa"
    utility_name: ClassVar[str] = "F1"
    hub_category: ClassVar[str] = "question-answering"
    learned_from: ClassVar[LearnedFrom] = "tokens"
    right_from: ClassVar[float] = 1.0
    target_type: ClassVar[pa.DataType] = pa.struct(
        [("text", pa.list_(pa.string())), ("answer_start", pa.list_(pa.int32()))]
    )
    measures_about: ClassVar[Mapping[str, str]] = MappingProxyType(
        {
            "confidence": "mean over specialists of their most probable span's probability",
            "disagreement": "mean divergence between the specialists on characters, bits",
            "score": "confidence minus disagreement, summed over specialists",
            "margin": "gap between the two most probable spans of the ensemble",
            "entropy": "entropy of the ensemble's spans, bits",
            "mutual_information": "entropy that the specialists' conflict explains",
        }
    )
    prediction_fields: ClassVar[tuple[pa.Field, ...]] = (
        pa.field("answer_1", pa.string()),  # the most probable answers, as text
        pa.field("prob_1", pa.float32()),
        pa.field("answer_2", pa.string()),
        pa.field("prob_2", pa.float32()),
    )

    def __post_init__(self) -> None:
        """Refuse labels.

        Raises:
            ValueError: there are some.
        """
        if self.labels:
            found = list(self.labels)
            raise ValueError(f"an extractive_qa task has no labels: leave them out, found {found}")
        object.__setattr__(self, "labels", ())

    @property
    def outputs(self) -> int:
        """A list of candidates, as numbers."""
        return candidates.WIDTH

    def parse(self, raw: object, sample: str | None = None) -> str:
        """Return the right answers as text, each where it stands in its context.

        Raises:
            DataError: it is none, or a text is not in the context, or not near its start.
        """
        found = read_spans(raw)
        if sample is not None:
            found = [located(each, parts_of(sample)[-1]) for each in found]
        return answer_text(found)

    def value(self, text: str) -> object:
        """Return the answers as SQuAD has them on the Hugging Face Hub."""
        found = spans_of(text)
        return {"text": [each.text for each in found], "answer_start": [s.start for s in found]}

    def of_rating(self, rating: int) -> str | None:
        """Refuse: a rating is no span.

        Raises:
            DataError: always.
        """
        raise DataError(f"an extractive_qa task cannot use recorded ratings such as {rating}")

    def encode(self, texts: Sequence[str]) -> Targets:
        """Return start, length and key of RIGHT answers each, in place of none (-1, 0, 0)."""
        targets = np.empty((len(texts), RIGHT, 3), dtype=np.int64)
        targets[:] = NO_TARGET
        for row, text in enumerate(texts):
            found = spans_of(text)[:RIGHT] or (Span(-1, ""),)
            targets[row, : len(found)] = [
                (each.start, len(each.text), candidates.text_key(each.text)) for each in found
            ]
        return targets

    def strata(self, texts: Sequence[str]) -> IntArray:
        """Return 1 where there is no answer, else 0."""
        return np.array([text == NO_ANSWER for text in texts], dtype=np.int64)

    def counts(self, texts: Sequence[str]) -> dict[str, int]:
        """Return nothing: there are no labels."""
        return {}

    def loss(self, outputs_MNC: Tensor, targets: Tensor) -> Tensor:
        """Return minus the log-probability of the right texts."""
        ones_M = torch.ones(len(outputs_MNC))
        probs_MNC = candidates.probabilities(outputs_MNC, ones_M)
        return torch.stack([self.log_loss(probs_NC, targets) for probs_NC in probs_MNC])

    def calibrate(
        self, outputs_NC: FloatArray, targets: Targets, weights_N: FloatArray
    ) -> Calibration:
        """Fit a temperature; what is not listed is one answer."""
        classes_N = candidates.classes_of(outputs_NC, torch.from_numpy(targets[..., 2]))
        logits_NK = outputs_NC[:, : 1 + candidates.LIST]
        return {"temperature": fit_temperature(logits_NK, classes_N, weights_N)}

    def activation(self, calibrations: Sequence[Calibration]) -> Callable[[Tensor], Tensor]:
        """Return the lists with probabilities, at each specialist's temperature."""
        values = [each["temperature"] for each in calibrations]
        temperatures_S = torch.tensor(values, dtype=torch.float32)
        return partial(candidates.probabilities, temperatures_S=temperatures_S)

    def pooling(self, probs_SNC: Tensor) -> Callable[[Tensor], Tensor]:
        """Pool by the most probable spans of the weighted product."""
        aligned = candidates.align(probs_SNC)
        return lambda weights_S: candidates.best_of(
            aligned.slots, candidates.pooled(aligned, weights_S)[0]
        )

    def log_loss(self, mean_NC: Tensor, targets: Tensor) -> Tensor:
        """Return minus the logarithm of the probability of the right texts, wherever they are."""
        right_N = candidates.of_right_ones(candidates.unpack(mean_NC), targets[..., 2])
        return -right_N.clamp_min(LEAST_PROBABILITY).log()

    def decide(self, mean_NC: FloatArray, targets: Targets, weights_N: FloatArray) -> Calibration:
        """Need nothing: the most probable text is predicted, or that there is none."""
        return {}

    def measures(self, probs_SNC: Tensor, decision: Calibration) -> Measures:
        """Measure samples by the specialists' probabilities of spans."""
        aligned = candidates.align(probs_SNC)
        probs_SNU, rest_SN, slots = aligned.probs_SNU, aligned.rest_SN, aligned.slots
        mean_NU, rest_N = candidates.pooled(aligned, weights_of(decision))
        confidence_N = probs_SNU.amax(2).mean(0)
        disagreement_N = spans.disagreement(probs_SNU, rest_SN, slots.starts_K, slots.lengths_K)
        within_N = candidates.entropy(probs_SNU, rest_SN).mean(0)
        mixed_N = candidates.entropy(probs_SNU.mean(0), rest_SN.mean(0))
        mean_NC = candidates.best_of(slots, mean_NU)
        best = candidates.unpack(mean_NC)
        columns = {
            "confidence": confidence_N,
            "disagreement": disagreement_N,
            "score": len(probs_SNC) * (confidence_N - disagreement_N),
            "margin": best.values_K[:, 0] - best.values_K[:, 1],
            "entropy": candidates.entropy(mean_NU, rest_N),
            "mutual_information": (mixed_N - within_N).clamp_min(0),
        }
        chosen_N, certainty_N = candidates.likeliest(best)
        overlap_NK = spans.overlap(best.starts_K, best.lengths_K, chosen_N)
        expected_N = (overlap_NK * best.values_K).sum(1)
        return Measures(mean_NC, columns, torch.maximum(expected_N, certainty_N), certainty_N)

    def predict(self, mean_NC: Tensor, decision: Calibration) -> list[str]:
        """Return the most probable text, where it is most probable."""
        best = candidates.unpack(mean_NC)
        return _answers(best, candidates.likeliest(best)[0])

    def utility(self, predicted: Sequence[str], targets: Sequence[str]) -> FloatArray:
        """Return the F1 of the words, by the rules of SQuAD."""
        pairs = zip(map(first_text, predicted), map(texts_of, targets), strict=True)
        return np.array([squad.f1(*each) for each in pairs], np.float32)

    def raw_utility(self, outputs_MNC: FloatArray, targets: Targets) -> FloatArray:
        """Return 1 where the most probable text is a right one, else 0."""
        found = candidates.unpack(torch.from_numpy(outputs_MNC))
        best_MN1 = found.values_K.argmax(-1, keepdim=True)
        text_MN1 = found.texts_K.gather(-1, best_MN1)
        right_MN: FloatArray = (text_MN1.numpy() == targets[..., 2]).any(-1).astype(np.float32)
        return right_MN

    def acquisition(self, measures: Measures, name: str) -> Tensor:
        """Return one of ACQUISITIONS.

        Raises:
            ConfigError: there is no such acquisition function.
        """
        return by_measures(measures, name, 1 - measures.columns["margin"])

    def urgency(self, value: float, name: str, specialists: int) -> float:
        """Scale an acquisition value to 0..1."""
        if name in ("entropy", "mutual_information"):
            value /= float(np.log2(candidates.LIST + candidates.UNLISTED))
        if name == "score":
            value = (value / specialists + 1) / 2
        return min(max(value, 0.0), 1.0)

    def prediction_columns(self, measures: Measures, decision: Calibration) -> list[pa.Array]:
        """Return the predicted answer, and the most probable one of those with another text."""
        best = candidates.unpack(measures.mean_NC)
        chosen_N, _ = candidates.likeliest(best)
        texts_NK = best.texts_K
        others_NK = candidates.by_text(best)
        others_NK = others_NK.masked_fill(texts_NK == texts_NK.gather(1, chosen_N[:, None]), -1)
        prob_N, other_N = others_NK.max(1)
        return [
            pa.array(_answers(best, chosen_N), pa.string()),
            pa.array(measures.certainty_N.numpy(), pa.float32()),
            pa.array(_answers(best, other_N), pa.string()),
            pa.array(prob_N.clamp_min(0).numpy(), pa.float32()),
        ]

    def predicted(self, rows: pa.Table) -> tuple[list[str], list[float]]:
        """Read the predicted answer and the probability of its text."""
        return rows["answer_1"].to_pylist(), rows["prob_1"].to_pylist()

    def may_have(self, scores: pa.Table, label: str) -> npt.NDArray[np.bool_]:
        """Return nothing: there are no labels."""
        return np.zeros(len(scores), np.bool_)

    def named(self, scores: pa.Table) -> pa.Table:
        """Return scores as they are."""
        return scores

    def explain(self, row: Mapping[str, Any]) -> str:
        """Name the two most probable answers and how far they are apart."""
        first, second = (quoted(row[name]) for name in ("answer_1", "answer_2"))
        gap = 100 * (row["prob_1"] - row["prob_2"])
        return f"{first} and {second} are {gap:.0f} points apart{disagreement_clause(row)}"

    def describe(
        self, probs_SNC: Tensor, specialists: Sequence[str], decision: Calibration
    ) -> list[Prediction]:
        """Return the ensemble's answer, and that of each specialist."""
        found = self.measures(probs_SNC, decision)
        opinions = {}
        for name, own in zip(specialists, map(candidates.unpack, probs_SNC), strict=True):
            chosen_N, certainty_N = candidates.likeliest(own)
            opinions[name] = _answers(own, chosen_N), certainty_N
        predicted = self.predict(found.mean_NC, decision)
        return shown_predictions(found, predicted, self.labels, opinions)

    def consensus(self, votes: Votes) -> dict[int, str]:
        """Return the answer with the highest mean F1 to those of the others."""
        given = votes.by_sample()
        return {
            sample: (own := sorted(texts))[squad.most_agreed([first_text(each) for each in own])]
            for sample, texts in sorted(given.items())
        }

    def tied(self, votes: Votes) -> set[int]:
        """Return the samples with answers in different words that agree as well with the others."""
        return {
            sample
            for sample, texts in votes.by_sample().items()
            if squad.is_tied([first_text(text) for text in texts])
        }

    def settled(self, votes: Votes, confidence: float) -> set[int]:
        """Return the samples for which two people gave the same words, and nobody others."""
        return {
            sample
            for sample, texts in votes.by_sample().items()
            if len(texts) > 1 and len({squad.normalized(first_text(each)) for each in texts}) == 1
        }

    def quality(self, rows: pa.Table, targets: Sequence[str]) -> Quality:
        """Return F1 and exact match, also of questions with and without an answer."""
        predicted, certainty = self.predicted(rows)
        utility_N = self.utility(predicted, targets)
        pairs = zip(map(first_text, predicted), map(texts_of, targets), strict=True)
        exact_N = np.array([squad.exact_match(*each) for each in pairs], np.bool_)
        calibration = reliability(np.array(certainty, np.float32), exact_N)
        has_N = self.strata(targets) == 0
        figures = {"exact match": Estimate(*mean_interval(exact_N))}
        if has_N.any() and not has_N.all():
            figures |= {
                "F1 where there is an answer": Estimate(*mean_interval(utility_N[has_N])),
                "F1 where there is none": Estimate(*mean_interval(utility_N[~has_N])),
            }
        return Quality(
            n=len(targets),
            utility=Estimate(*mean_interval(utility_N)),
            ece=calibration.error(),
            reliability=calibration,
            figures=figures,
        )

    def form(self) -> SpanForm:
        """Return the marking of a span."""
        return SpanForm()


def _answers(found: Candidates, place_N: Tensor) -> list[str]:
    rows = zip(found.starts_K, found.bytes_KW, place_N.tolist(), strict=True)
    each = [Span(int(starts[k]), candidates.text_of(texts[k])) for starts, texts, k in rows]
    return [answer_text([span] if span.text else []) for span in each]
