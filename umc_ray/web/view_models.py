"""View models: everything that the templates show about a question."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from umc_ray.annotation.store import Answer, Question
from umc_ray.web.samples import Sample
from umc_ray.web.similar import Neighbor

DIGITS = "1234567890"
SNIPPET = 160  # characters
Suggestion = Literal["show", "after_first_choice", "hidden"]


@dataclass(frozen=True)
class Choice:
    """A button for a label; `share` is the ensemble's probability, None if it is hidden."""

    label: str
    key: str
    share: float | None
    suggested: bool


@dataclass(frozen=True)
class SpecialistPrediction:
    """The top label of one specialist, with its probability `share`."""

    name: str
    label: str
    share: float


@dataclass(frozen=True)
class SimilarSample:
    """A similar labeled sample; `text` is None for an image."""

    label: str
    text: str | None
    sample_id: int


@dataclass(frozen=True)
class Vote:
    """An answer for a reviewer; `person` is a pseudonym."""

    person: str
    label: str | None
    reason: str | None


@dataclass(frozen=True)
class Card:
    """A question on the screen."""

    question: Question
    sample: Sample
    choices: tuple[Choice, ...]
    suggestion: Suggestion
    facts: tuple[tuple[str, str], ...] = ()
    specialists: tuple[SpecialistPrediction, ...] = ()
    similar: tuple[SimilarSample, ...] = ()
    votes: tuple[Vote, ...] = ()

    @property
    def why(self) -> str:
        """Why the sample was selected; does not reveal that a sample is an audit sample."""
        return (
            "One of this round's samples." if self.question.hide_prediction else self.question.why
        )

    @property
    def snippet(self) -> str:
        """The beginning of the text."""
        return snippet(self.sample.text or "")


def card(
    question: Question,
    sample: Sample,
    labels: Sequence[str],
    suggestion: Suggestion,
    similar: Sequence[tuple[Neighbor, Sample]] = (),
) -> Card:
    """Build the view of a question; a hidden prediction never leaves the server."""
    if question.hide_prediction or suggestion == "hidden":
        return Card(question, sample, plain_choices(labels), "hidden")
    payload = question.payload
    shares = payload.get("probabilities")
    predicted = payload.get("predicted")
    if shares is None:
        shares = {predicted: payload.get("confidence")} if predicted in labels else {}
    specialists = payload.get("specialists", {}).items()
    return Card(
        question,
        sample,
        choices(labels, shares, predicted),
        suggestion if shares else "hidden",
        tuple(_facts(payload)),
        tuple(SpecialistPrediction(name, label, share) for name, (label, share) in specialists),
        tuple(
            SimilarSample(each.label, similar_text(content), each.question.sample_id)
            for each, content in similar
        ),
    )


def review_card(
    question: Question, sample: Sample, labels: Sequence[str], answers: Sequence[Answer]
) -> Card:
    """Build the view of a disputed question for a reviewer, with the answers."""
    votes = tuple(
        Vote(f"Person {number}", answer.label, answer.reason)
        for number, answer in enumerate(answers, start=1)
    )
    return Card(question, sample, plain_choices(labels), "hidden", votes=votes)


def plain_choices(labels: Sequence[str]) -> tuple[Choice, ...]:
    """Return the buttons of a label set, without predictions."""
    return choices(labels, {}, None)


def choices(
    labels: Sequence[str], shares: Mapping[str, float | None], predicted: str | None
) -> tuple[Choice, ...]:
    """Return the buttons of a label set; keys are the digits, then shifted digits, then none."""
    keys = [*DIGITS, *(f"⇧{digit}" for digit in DIGITS)]
    keys += [""] * (len(labels) - len(keys))
    return tuple(
        Choice(label, key, shares.get(label), label == predicted)
        for label, key in zip(labels, keys, strict=False)
    )


def snippet(text: str) -> str:
    """Shorten a text to one line."""
    line = " ".join(text[: 4 * SNIPPET].split())
    return line if len(line) <= SNIPPET else line[: SNIPPET - 1] + "…"


def similar_text(sample: Sample) -> str | None:
    """Return a snippet of a text, None for an image."""
    return None if sample.image is not None else snippet(sample.text or "")


def _facts(payload: Mapping[str, float]) -> list[tuple[str, str]]:
    facts = []
    if "rank" in payload:
        facts.append(("rank in domain", f"{payload['rank']} of {payload['ranked']}"))
    if "margin" in payload:
        facts.append(("margin", f"{100 * payload['margin']:.0f} points"))
    if "disagreement" in payload:
        facts.append(("disagreement", f"{payload['disagreement']:.2f} bits"))
    if "score" in payload:
        facts.append(("score", f"{payload['score']:.2f}"))
    return facts
