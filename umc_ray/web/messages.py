"""Request and response models of the REST API."""

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, FailFast, Field, model_validator

from umc_ray.annotation.ratings import RATING
from umc_ray.config.section import Name
from umc_ray.methods.unicode_text import has_half_characters
from umc_ray.records import SCORES

MAX_TEXT = 1_000_000
MAX_SAMPLES = 1000


def _storable(text: str) -> str:
    """Check that a database can store a text.

    Raises:
        ValueError: the text has a NUL or a lone surrogate.
    """
    if "\x00" in text or has_half_characters(text):
        raise ValueError("must be Unicode text without NUL")
    return text


def _int64(digits: str) -> str:
    """Check that a number fits into 64 bits.

    Raises:
        ValueError: it does not.
    """
    if not -(2**63) <= int(digits) < 2**63:
        raise ValueError("must be a 64-bit integer")
    return digits


Line = Annotated[str, Field(max_length=2000), AfterValidator(_storable)]
Text = Annotated[str, Field(min_length=1, max_length=MAX_TEXT), AfterValidator(_storable)]
Label = Line | Annotated[list[Line], Field(max_length=1000)]
"""An answer: the text that the task's kind writes, or the labels as a list."""
ClientKey = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{8,64}$")]
"""Chosen by the client, unique per action: a retried request takes effect once."""
SampleId = Annotated[str, Field(pattern=r"^-?[0-9]{1,19}$"), AfterValidator(_int64)]
"""A 64-bit integer as text, because JavaScript numbers have only 53 bits."""
Seconds = Annotated[float, Field(ge=0, le=86_400, allow_inf_nan=False)]
Probability = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


class Message(BaseModel):
    """A model that rejects unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class QuestionRef(Message):
    """Identifies a question."""

    task: Line
    domain: Line
    sample_id: SampleId
    round: Annotated[int, Field(ge=0, le=2**31 - 1)]

    @property
    def id(self) -> int:
        """The sample id as a number."""
        return int(self.sample_id)


class AnswersIn(Message):
    """One answer, or a skip, for a question or a group; `seen`: the suggestion was shown."""

    client_key: ClientKey
    samples: Annotated[list[QuestionRef], Field(min_length=1, max_length=200)]
    label: Label | None = None
    reason: Line | None = None
    seconds: Seconds | None = None
    seen: bool | None = None
    guideline: Line | None = None
    bulk: Line | None = None


class Saved(Message):
    """The number of answers that are on disk."""

    saved: int


class RemarkIn(Message):
    """A flag or a note about a sample, or a rating of a synthetic one: from 1 to 5, as text."""

    client_key: ClientKey
    sample: QuestionRef
    kind: Literal["flag", "note", "rating"]
    text: Annotated[Line, Field(min_length=1)]

    @model_validator(mode="after")
    def _is_a_score(self) -> Self:
        if self.kind == RATING and self.text not in SCORES:
            raise ValueError(f"a rating is one of {', '.join(SCORES)}, found {self.text!r}")
        return self


class DecisionIn(Message):
    """A reviewer's label; null means that the sample cannot be labeled."""

    client_key: ClientKey
    sample: QuestionRef
    label: Label | None = None
    reason: Line | None = None


class ReviewIn(Message):
    """Something else that a reviewer does with a question."""

    client_key: ClientKey
    sample: QuestionRef


class UndoIn(Message):
    """Undo the last answer, or the whole group that was answered last, or a request's answers."""

    client_key: ClientKey
    answer: ClientKey | None = Field(None, description="client key of the request to undo")


class ReleaseIn(Message):
    """Questions that are no longer on the screen."""

    samples: Annotated[list[QuestionRef], Field(max_length=1000)]


class Undone(Message):
    """The questions that are open again after an undo."""

    samples: list[QuestionRef]


class Progress(Message):
    """The number of fully answered questions, and of all questions.

    `by_you` counts the account's answers from the time of the request's `since` on, `left_for_you`
    the open questions that it has not answered.
    """

    done: int
    asked: int
    by_you: int
    left_for_you: int


class QuestionOut(Message):
    """A leased question; `image` is a path on this server, `hint` says what can be answered."""

    sample: QuestionRef
    text: str | list[str] | None = Field(description="a list of the two texts of a pair")
    image: str | None
    labels: list[str]
    hint: str
    why: str


class NewSample(Message):
    """A sample to label: either `text`, or the `sample_id` of a sample in the pool."""

    id: Annotated[Line, Field(min_length=1)] | None = Field(
        None, description="permanent name of the text; default: derived from the text"
    )
    text: Text | Annotated[list[Text], Field(min_length=2, max_length=2)] | None = Field(
        None, description="a list of the two texts of a pair"
    )
    sample_id: SampleId | None = None
    votes: Annotated[int, Field(ge=1, le=100)] = 1
    priority: Annotated[float, Field(ge=-1e9, le=1e9, allow_inf_nan=False)] = 0.0
    why: Line = ""
    gold: Label | None = Field(None, description="known label: a quality check for every annotator")
    hide_prediction: bool = False
    probabilities: dict[Line, Probability] | None = Field(
        None, description="label probabilities of a model"
    )


class BatchIn(Message):
    """Samples of a task to label outside the campaign's rounds."""

    task: Name
    domain: Name
    samples: Annotated[list[NewSample], Field(min_length=1, max_length=MAX_SAMPLES), FailFast()]


class BatchOut(Message):
    """The number of new samples, and the ids of all samples in the order of the request."""

    new: int
    sample_ids: list[SampleId]


class Imported(Message):
    """The number of answers in a file, how many of them are new, and which rows have none."""

    read: int
    new: int
    bad: int = 0
    problems: list[str] = []  # of the first bad rows, such as "row 3: ..."


class Vote(Message):
    """One person's answer, read from a file; without a label it is a skip."""

    task: Line
    sample_id: SampleId
    annotator: Annotated[Line, Field(min_length=1)]
    label: Label | None
    reason: Line | None = None
    seconds: Seconds | None = None


class Problem(BaseModel):
    """Why a request was rejected."""

    detail: str
