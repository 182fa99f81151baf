"""View models: everything that the templates show about a question."""

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal

from umc_ray.annotation.events import SampleKey
from umc_ray.annotation.review import Case
from umc_ray.annotation.store import Payload, Question
from umc_ray.methods.text_pair import parts_of
from umc_ray.records import Made
from umc_ray.tasks.forms import Form
from umc_ray.web.choices import Choice, choices, plain_choices
from umc_ray.web.samples import Sample
from umc_ray.web.similar import Neighbor

SNIPPET = 160  # characters
Suggestion = Literal["show", "after_first_choice", "hidden"]


@dataclass(frozen=True)
class SpecialistPrediction:
    """The answer of one specialist, with its probability `share`."""

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
    form: Form
    choices: tuple[Choice, ...]
    suggestion: Suggestion
    suggested: str | None = None  # the answer that is suggested, where it is no choice
    facts: tuple[tuple[str, str], ...] = ()
    specialists: tuple[SpecialistPrediction, ...] = ()
    similar: tuple[SimilarSample, ...] = ()
    votes: tuple[Vote, ...] = ()
    remarks: tuple[str, ...] = ()  # flags and notes

    @property
    def made(self) -> Made | None:
        """What a synthetic sample was made by and for."""
        return self.question.payload.made

    @property
    def similar_title(self) -> str:
        """What the similar samples are."""
        shown = {each.sample_id for each in self.similar}
        is_exemplar = self.made is not None and not shown.isdisjoint(self.made.exemplars)
        return "Made from these samples" if is_exemplar else "Similar labeled samples"

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
    form: Form,
    suggestion: Suggestion,
    similar: Sequence[tuple[Neighbor, Sample]] = (),
) -> Card:
    """Build the view of a question; a hidden prediction never leaves the server.

    What a synthetic sample was made for is never hidden: people are asked whether it is right.
    """
    shown = tuple(
        SimilarSample(form.shown(each.label), similar_text(content), each.question.sample_id)
        for each, content in similar
    )
    if (made := question.payload.made) is not None:
        offered = choices(form, {}, made.label)
        return Card(question, sample, form, offered, "show", suggested=made.label, similar=shown)
    if question.hide_prediction or suggestion == "hidden":
        return Card(question, sample, form, plain_choices(form), "hidden")
    payload = question.payload
    shares = payload.probabilities
    return Card(
        question,
        sample,
        form,
        choices(form, shares, payload.predicted, ranked=suggestion == "show"),
        suggestion if shares or (payload.predicted and not form.labels) else "hidden",
        payload.predicted,
        tuple(_facts(payload, form)),
        tuple(
            SpecialistPrediction(name, form.shown(label), share)
            for name, (label, share) in payload.specialists.items()
        ),
        shown,
    )


@dataclass(frozen=True)
class Alike:
    """The samples of a group that are selected at first: `count` have the commonest prediction.

    Outliers are not selected. `label` is None where no predictions are shown.
    """

    keys: frozenset[SampleKey]
    label: str | None = None
    count: int = 0


def predicted_alike(
    questions: Sequence[Question], outliers: Collection[SampleKey], is_shown: bool
) -> Alike:
    """Select the samples of a group with the commonest prediction."""
    near = [each for each in questions if each.key not in outliers]
    predictions = Counter(each.payload.predicted for each in questions)
    if not is_shown or not questions:
        return Alike(frozenset(each.key for each in near))
    label, count = predictions.most_common(1)[0]
    chosen = frozenset(each.key for each in near if each.payload.predicted == label)
    return Alike(chosen, label, count)


def review_card(case: Case, sample: Sample, form: Form) -> Card:
    """Build the view of a disputed question for a reviewer, with answers and remarks."""
    votes = tuple(
        Vote(f"Person {number}", answer.label and form.shown(answer.label), answer.reason)
        for number, answer in enumerate(case.answers, start=1)
    )
    remarks = tuple(each.reason or "" for each in (*case.flags, *case.notes))
    return Card(
        case.question, sample, form, plain_choices(form), "hidden", votes=votes, remarks=remarks
    )


def snippet(text: str) -> str:
    """Shorten a text, or both of a pair, to one line."""
    line = " · ".join(" ".join(part[: 4 * SNIPPET].split()) for part in parts_of(text))
    return line if len(line) <= SNIPPET else line[: SNIPPET - 1] + "…"


def similar_text(sample: Sample) -> str | None:
    """Return a snippet of a text, None for an image."""
    return None if sample.image is not None else snippet(sample.text or "")


def _facts(payload: Payload, form: Form) -> list[tuple[str, str]]:
    facts = []
    if payload.rank is not None:
        facts.append(("rank in domain", f"{payload.rank} of {payload.ranked}"))
    if payload.margin is not None:
        facts.append(("margin", f"{100 * payload.margin:.0f} points"))
    if payload.disagreement is not None:
        unit = " bits" if form.labels else ""
        facts.append(("disagreement", f"{payload.disagreement:.2f}{unit}"))
    if payload.score is not None:
        facts.append(("score", f"{payload.score:.2f}"))
    return facts
