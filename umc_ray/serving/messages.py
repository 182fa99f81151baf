"""What goes over the wire: the requests and answers of the scoring endpoint, for both ends."""

from typing import Annotated, Literal

import pydantic
from pydantic import Field

from umc_ray.methods.certificates import Certificate

Route = Literal["auto", "human"]


class Message(pydantic.BaseModel):
    """A request or a part of one: unknown keys and values of another type are refused."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True, strict=True)


class Answer(pydantic.BaseModel):
    """An answer; a client of an older release ignores what it does not know."""

    model_config = pydantic.ConfigDict(frozen=True)


class Sample(Message):
    """A sample: one of text, image, image_url and reference, as the task's kind asks."""

    text: str | None = None
    image: str | None = Field(None, description="the image file, in base64")
    image_url: Annotated[str, Field(max_length=2000)] | None = Field(
        None, description="of an image, at a host that the endpoint allows"
    )
    reference: Annotated[str, Field(max_length=2000)] | None = Field(
        None, description="path or s3:// URI of a file, below a folder that the endpoint allows"
    )
    id: Annotated[str, Field(max_length=200)] | None = Field(
        None, description="any name; comes back with the result"
    )


class EmbedRequest(Message):
    """Samples of one task."""

    task: str | None = Field(None, description="not needed where the campaign has one task")
    samples: list[Sample] = Field(min_length=1)


class ScoreRequest(EmbedRequest):
    """Samples of one task, and how much to tell of them."""

    specialists: bool = Field(False, description="tell each specialist's probabilities too")
    neighbors: int = Field(
        0, ge=0, le=20, description="tell so many of the nearest labeled samples too"
    )

    model_config = pydantic.ConfigDict(
        json_schema_extra={
            "examples": [{"task": "sentiment", "samples": [{"id": "a", "text": "what a day"}]}]
        }
    )


class SampleError(Answer):
    """Why a sample has no result; the others of its request have theirs."""

    index: int = Field(description="its place in the request, from 0")
    id: str | None = None
    error: str


class Neighbor(Answer):
    """A labeled sample."""

    domain: str
    sample_id: int
    label: str = Field(description="what people said")
    similarity: float = Field(description="cosine, -1 to 1")


class SampleScore(Answer):
    """What the ensemble thinks of a sample."""

    index: int = Field(description="its place in the request, from 0")
    id: str | None = None
    label: str = Field(description="the most likely label")
    probabilities: dict[str, float] = Field(description="mean of the specialists, by label")
    confidence: float = Field(description="mean over specialists of their best probability")
    disagreement: float = Field(description="between specialists, 0 to 1")
    score: float = Field(description="low: ask a person")
    margin: float = Field(description="best minus second best probability of the mean")
    entropy: float = Field(description="of the mean, in bits")
    mutual_information: float = Field(description="of label and specialist, in bits")
    priority: float = Field(description="by the campaign's acquisition; high: ask a person")
    route: Route = Field(
        "human", description="auto: sure enough by the certificate; without one, always human"
    )
    specialists: dict[str, dict[str, float]] | None = None
    neighbors: list[Neighbor] | None = Field(None, description="the nearest first")


class ScoreResponse(Answer):
    """Scores, all by one version of the ensemble."""

    version: str = Field(description="round and hash of the specialists that answered")
    task: str
    certificate: Certificate | None = Field(None, description="what the route auto promises")
    results: list[SampleScore]
    errors: list[SampleError]


class SampleEmbedding(Answer):
    """A sample as the task's encoder sees it."""

    index: int
    id: str | None = None
    embedding: list[float] = Field(description="of unit length")


class EmbedResponse(Answer):
    """Embeddings of one encoder."""

    encoder: str = Field(description="hash of the encoder: others' embeddings do not compare")
    task: str
    results: list[SampleEmbedding]
    errors: list[SampleError]


class TaskModels(Answer):
    """The specialists of a task."""

    labels: list[str]
    specialists: tuple[str, ...]
    encoder: str
    hash: str


class ModelsResponse(Answer):
    """The version that answers now, and the newest that was refused, if any was."""

    version: str
    round: int
    tasks: dict[str, TaskModels]
    refused: str | None = None


class CampaignResponse(Answer):
    """Where a campaign stands."""

    name: str
    tasks: dict[str, list[str]] = Field(description="label set by task")
    rounds: int
    labels: int
    audit_accuracy: float | None


class Problem(Answer):
    """Why a request was refused; says nothing of its content."""

    error: str
    errors: list[SampleError] = []
