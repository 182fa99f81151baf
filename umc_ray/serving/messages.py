"""The wire format: requests and responses of the scoring endpoint, for server and client.

Sample ids are strings: as JSON numbers, JavaScript would round those above 2^53.
"""

from typing import Annotated, Literal

import pydantic
from pydantic import BeforeValidator, Field, JsonValue

from umc_ray.methods.certificates import Certificate

Route = Literal["auto", "human"]


MOST_CHARS = 200
"""Of a name that a response may repeat."""

Short = Annotated[str, Field(max_length=MOST_CHARS)]


def _checked(group: object) -> object:
    """Refuse other groups as a whole: pydantic would name keys, which a client made up."""
    if isinstance(group, dict):
        texts = [text for pair in group.items() for text in pair]
        if not all(isinstance(text, str) and _is_short(text) for text in texts):
            raise ValueError("must be short texts by the names of columns")
    return group


def _is_short(text: str) -> bool:
    is_unicode = text.encode(errors="replace").decode() == text
    return len(text) <= MOST_CHARS and is_unicode


MOST_SAMPLES = 10_000
"""Of any request; `max_samples` of the endpoint is what it takes."""


class RequestModel(pydantic.BaseModel):
    """A request or a part of one; unknown keys and values of another type are refused."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True, strict=True)


class ResponseModel(pydantic.BaseModel):
    """A response or a part of one; older clients ignore keys that they do not know."""

    model_config = pydantic.ConfigDict(frozen=True)


class Sample(RequestModel):
    """A sample: one of text, image, image_url and reference, as the task requires."""

    text: str | Annotated[list[str], Field(min_length=2, max_length=2, fail_fast=True)] | None = (
        Field(None, description="a text, or the two of a pair, in the order of the campaign file")
    )
    image: str | None = Field(None, description="the image file, base64-encoded")
    image_url: Annotated[str, Field(max_length=2000)] | None = Field(
        None, description="URL of an image, on a host that the endpoint allows"
    )
    reference: Annotated[str, Field(max_length=2000)] | None = Field(
        None, description="path or s3:// URI of a file, in a folder that the endpoint allows"
    )
    id: Short | None = Field(None, description="any name; returned with the result")
    group: Annotated[dict[str, str], BeforeValidator(_checked)] | None = Field(
        None,
        description="the group by each column that the domain names, such as {sex: Female}: its "
        "label is by the threshold of that group, if the campaign has any",
    )


class EmbedRequest(RequestModel):
    """Samples of one task."""

    task: str | None = Field(None, description="optional if the campaign has one task")
    samples: list[Sample] = Field(min_length=1, max_length=MOST_SAMPLES, fail_fast=True)


class ScoreRequest(EmbedRequest):
    """Samples of one task, and which details to return."""

    domain: Short | None = Field(
        None,
        description="of the task, to which all samples belong: how sure the ensemble is, is fitted "
        "by domain; without one, it is as sure as over all of them, and no certificate holds if "
        "the task has several",
    )
    specialists: bool = Field(False, description="return each specialist's probabilities")
    columns: bool = Field(False, description="return the columns that `umc score` writes")
    neighbors: int = Field(
        0, ge=0, le=20, description="how many of the nearest labeled samples to return"
    )

    model_config = pydantic.ConfigDict(
        json_schema_extra={
            "examples": [{"task": "sentiment", "samples": [{"id": "a", "text": "what a day"}]}]
        }
    )


class SampleError(ResponseModel):
    """Why one sample has no result; the others in its request do."""

    index: int = Field(description="position in the request, from 0")
    id: str | None = None
    error: str


class Neighbor(ResponseModel):
    """A labeled sample."""

    domain: str
    sample_id: str = Field(description="a 64-bit integer, in decimal")
    label: str = Field(description="the answer that people gave, as text")
    similarity: float = Field(description="cosine similarity, -1 to 1")


class SampleScore(ResponseModel):
    """The ensemble's prediction for a sample, and the measures of the task's kind by name."""

    model_config = pydantic.ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, JsonValue]

    index: int = Field(description="position in the request, from 0")
    id: str | None = None
    label: JsonValue = Field(description="the answer: a label, or the list of all that apply")
    certainty: float = Field(description="probability that the answer is right in full")
    probabilities: dict[str, float] = Field(description="by label, mean over the specialists")
    priority: float = Field(description="by the campaign's acquisition; high: ask a person")
    route: Route = Field(
        "human",
        description="auto: certain enough by the certificate; without a certificate, human",
    )
    specialists: dict[str, dict[str, float]] | None = None
    columns: dict[str, JsonValue] | None = Field(None, description="as `umc score` writes them")
    neighbors: list[Neighbor] | None = Field(None, description="nearest first")


class ScoreResponse(ResponseModel):
    """Scores, all from one version of the ensemble."""

    version: str = Field(description="round and hash of the specialists")
    task: str
    certificate: Certificate | None = Field(None, description="the guarantee for route auto")
    by_heads: bool = Field(
        False,
        description="under overload, fine-tuned specialists were left out: no certificate holds",
    )
    results: list[SampleScore]
    errors: list[SampleError]


class SampleEmbedding(ResponseModel):
    """The embedding of a sample."""

    index: int
    id: str | None = None
    embedding: list[float] = Field(description="of unit length, unless it is of a table")


class EmbedResponse(ResponseModel):
    """Embeddings, all from one encoder."""

    encoder: str = Field(description="hash of the encoder; embeddings of others do not compare")
    task: str
    results: list[SampleEmbedding]
    errors: list[SampleError]


class TaskModels(ResponseModel):
    """The specialists of a task."""

    kind: str
    labels: list[str]
    specialists: tuple[str, ...]
    encoders: dict[str, str] = Field(description="hash of each encoder, by name")
    hash: str


class ModelsResponse(ResponseModel):
    """The version that is served, and why a newer publication was refused, if one was."""

    version: str
    round: int
    tasks: dict[str, TaskModels]
    refused: str | None = None


class CampaignResponse(ResponseModel):
    """The state of a campaign."""

    name: str
    tasks: dict[str, list[str]] = Field(description="label set by task")
    rounds: int
    labels: int
    audit_utility: float | None = Field(description="accuracy, or what the kinds call it")


class Problem(ResponseModel):
    """Why a request was refused; repeats none of its content."""

    error: str
    errors: list[SampleError] = []
