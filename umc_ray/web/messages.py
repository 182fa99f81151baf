"""What the API takes and gives, as it stands in its OpenAPI document."""

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from umc_ray.config.section import Name

MAX_TEXT = 1_000_000
MAX_SAMPLES = 1000


def _storable(text: str) -> str:
    """Refuse what a database cannot keep.

    Raises:
        ValueError: a NUL, or half of a character.
    """
    if "\x00" in text or (not text.isprintable() and _halved(text)):
        raise ValueError("must be Unicode text without NUL")
    return text


def _halved(text: str) -> bool:
    return any("\ud800" <= char <= "\udfff" for char in text)


def _int64(digits: str) -> str:
    """Refuse what is longer.

    Raises:
        ValueError: it is.
    """
    if not -(2**63) <= int(digits) < 2**63:
        raise ValueError("must be an integer of 64 bits")
    return digits


Line = Annotated[str, Field(max_length=2000), AfterValidator(_storable)]
Text = Annotated[str, Field(min_length=1, max_length=MAX_TEXT), AfterValidator(_storable)]
ClientKey = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{8,64}$")]
"""Made up by the client, new for each thing it does: a request that is sent again is done once."""
SampleId = Annotated[str, Field(pattern=r"^-?[0-9]{1,19}$"), AfterValidator(_int64)]
"""An integer of 64 bits as text: JavaScript's numbers are shorter."""
Seconds = Annotated[float, Field(ge=0, le=86_400, allow_inf_nan=False)]
Probability = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


class Message(BaseModel):
    """Unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class QuestionRef(Message):
    """Names a question."""

    task: Line
    domain: Line
    sample_id: SampleId
    round: Annotated[int, Field(ge=0, le=2**31 - 1)]

    @property
    def id(self) -> int:
        """Its sample's id."""
        return int(self.sample_id)


class AnswersIn(Message):
    """One label, or a skip, for one question or for a group; `seen`: with the suggestion shown."""

    client_key: ClientKey
    samples: Annotated[list[QuestionRef], Field(min_length=1, max_length=200)]
    label: Line | None = None
    reason: Line | None = None
    seconds: Seconds | None = None
    seen: bool | None = None
    guideline: Line | None = None
    bulk: Line | None = None


class Saved(Message):
    """How many answers are on disk."""

    saved: int


class RemarkIn(Message):
    """Something to say about a sample beside its label."""

    client_key: ClientKey
    sample: QuestionRef
    kind: Literal["flag", "note"]
    text: Annotated[Line, Field(min_length=1)]


class DecisionIn(Message):
    """A reviewer's label; none: the sample cannot be labeled."""

    client_key: ClientKey
    sample: QuestionRef
    label: Line | None = None


class UndoIn(Message):
    """Takes the last answer back, with the whole group if it was given to one."""

    client_key: ClientKey


class Undone(Message):
    """The questions that are open again."""

    samples: list[QuestionRef]


class Progress(Message):
    """How many questions have all their answers, and how many were asked."""

    done: int
    asked: int


class QuestionOut(Message):
    """A question that a program holds; the image is an address on this server."""

    sample: QuestionRef
    text: str | None
    image: str | None
    labels: list[str]
    why: str


class NewSample(Message):
    """A sample to label: a text, or `sample_id` of the campaign's pool."""

    id: Annotated[Line, Field(min_length=1)] | None = Field(
        None, description="names a text for good; default: the text itself"
    )
    text: Text | None = None
    sample_id: SampleId | None = None
    votes: Annotated[int, Field(ge=1, le=100)] = 1
    priority: Annotated[float, Field(ge=-1e9, le=1e9, allow_inf_nan=False)] = 0.0
    why: Line = ""
    gold: Line | None = Field(None, description="the known label: each person is asked")
    hide_prediction: bool = False
    probabilities: dict[Line, Probability] | None = Field(None, description="of labels, by a model")


class BatchIn(Message):
    """Samples of a task to label beside the campaign's rounds."""

    task: Name
    domain: Name
    samples: Annotated[list[NewSample], Field(min_length=1, max_length=MAX_SAMPLES)]


class BatchOut(Message):
    """How many are new, and the ids of all, in their order."""

    new: int
    sample_ids: list[SampleId]


class Imported(Message):
    """How many answers a file held, and how many of them are new."""

    read: int
    new: int


class Vote(Message):
    """What one person said, as read from a file; without a label it is a skip."""

    task: Line
    sample_id: SampleId
    annotator: Annotated[Line, Field(min_length=1)]
    label: Line | None
    reason: Line | None = None
    seconds: Seconds | None = None


class Problem(BaseModel):
    """Why something is refused."""

    detail: str
