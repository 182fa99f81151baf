"""What the page shows of a question: prepared here, so that templates only lay it out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from umc_ray.annotation.store import Answer, Question
from umc_ray.web.samples import Sample
from umc_ray.web.similar import Neighbor

DIGITS = "1234567890"
SNIPPET = 160
Suggestion = Literal["show", "after_first_choice", "hidden"]


@dataclass(frozen=True)
class Choice:
    """A label as a button; `share` is the ensemble's probability of it, where it may be seen."""

    label: str
    key: str
    share: float | None
    suggested: bool


@dataclass(frozen=True)
class View:
    """What one specialist thinks."""

    name: str
    label: str
    share: float


@dataclass(frozen=True)
class Peer:
    """A labeled sample that resembles this one."""

    label: str
    text: str | None
    sample_id: int


@dataclass(frozen=True)
class Vote:
    """What somebody answered, without the name."""

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
    views: tuple[View, ...] = ()
    peers: tuple[Peer, ...] = ()
    votes: tuple[Vote, ...] = ()

    @property
    def why(self) -> str:
        """Why people are asked; audits do not give away that they are."""
        return (
            "One of this round's samples." if self.question.hide_prediction else self.question.why
        )

    @property
    def snippet(self) -> str:
        """The beginning of its text."""
        return snippet(self.sample.text or "")


def card(
    question: Question,
    sample: Sample,
    labels: Sequence[str],
    suggestion: Suggestion,
    peers: Sequence[tuple[Neighbor, Sample]] = (),
) -> Card:
    """Prepare a question; of a blind one nothing that the models think leaves the server."""
    if question.hide_prediction or suggestion == "hidden":
        return Card(question, sample, choices(labels, {}, None), "hidden")
    payload = question.payload
    shares = payload.get("probabilities")
    predicted = payload.get("predicted")
    if shares is None:
        shares = {predicted: payload.get("confidence")} if predicted in labels else {}
    views = payload.get("specialists", {})
    return Card(
        question,
        sample,
        choices(labels, shares, predicted),
        suggestion if shares else "hidden",
        tuple(_facts(payload)),
        tuple(View(name, label, share) for name, (label, share) in views.items()),
        tuple(Peer(n.label, peer_text(s), n.question.sample_id) for n, s in peers),
    )


def review_card(
    question: Question, sample: Sample, labels: Sequence[str], answers: Sequence[Answer]
) -> Card:
    """Prepare a disputed question for a reviewer, with what people said."""
    votes = tuple(
        Vote(f"Person {number}", answer.label, answer.reason)
        for number, answer in enumerate(answers, start=1)
    )
    return Card(question, sample, choices(labels, {}, None), "hidden", votes=votes)


def choices(
    labels: Sequence[str], shares: Mapping[str, float | None], predicted: str | None
) -> tuple[Choice, ...]:
    """Give each label its key: a digit, then a digit with shift, then none."""
    keys = [*DIGITS, *(f"⇧{digit}" for digit in DIGITS)]
    keys += [""] * (len(labels) - len(keys))
    return tuple(
        Choice(label, key, shares.get(label), label == predicted)
        for label, key in zip(labels, keys, strict=False)
    )


def snippet(text: str) -> str:
    """Cut a text to one line."""
    line = " ".join(text[: 4 * SNIPPET].split())
    return line if len(line) <= SNIPPET else line[: SNIPPET - 1] + "…"


def peer_text(sample: Sample) -> str | None:
    """Return a line of a text, None for an image."""
    return None if sample.image is not None else snippet(sample.text or "")


def _facts(payload: Mapping[str, float]) -> list[tuple[str, str]]:
    facts = []
    if "rank" in payload:
        facts.append(("rank in domain", f"{payload['rank']} of {payload['ranked']}"))
    if "margin" in payload:
        facts.append(("margin", f"{100 * payload['margin']:.0f} points"))
    if "disagreement" in payload:
        facts.append(("disagreement", f"{payload['disagreement']:.2f} bit"))
    if "score" in payload:
        facts.append(("score", f"{payload['score']:.2f}"))
    return facts
