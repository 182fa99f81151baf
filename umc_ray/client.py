"""Ask a scoring endpoint: `Client`, and `AsyncClient` for asyncio.

    with Client("http://127.0.0.1:8000", token=...) as client:
        for each in client.score([Sample(text="what a day")]):
            print(each)

Samples are sent in batches. An endpoint that is busy, or just starts again, is asked again after
the time that it tells; what it refuses is an EndpointError.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator
from itertools import islice
from typing import Any, Self

import httpx
import pydantic
from tenacity import (
    AsyncRetrying,
    RetryCallState,
    Retrying,
    retry_if_exception_type,
    stop_after_attempt,
    wait_random_exponential,
)

from umc_ray.errors import UmcError
from umc_ray.serving.messages import (
    EmbedResponse,
    ModelsResponse,
    Problem,
    Sample,
    SampleEmbedding,
    SampleError,
    SampleScore,
    ScoreResponse,
)

BATCH = 64
AT_ONCE = 2
"""Batches that an AsyncClient has on their way: one is computed, one waits."""

ATTEMPTS = 8
TIMEOUT_S = 60.0
PASSING = (429, 502, 503, 504)
"""Statuses of an endpoint that is busy, or that a proxy cannot reach for the moment."""


class EndpointError(UmcError):
    """The endpoint refuses a request, or does not answer."""


class VersionedScore(SampleScore):
    """A score and the version of the specialists that it is from."""

    version: str


class _Busy(Exception):
    """Try again, after so many seconds if the endpoint told."""

    def __init__(self, reason: str, after_s: float) -> None:
        super().__init__(reason)
        self.after_s = after_s


class _Endpoint:
    """What both clients share: all but the waiting."""

    def __init__(self, url: str, token: str | None, batch: int) -> None:
        self.url, self.batch = url.rstrip("/"), batch
        self.connection: dict[str, Any] = {
            "base_url": self.url,
            "headers": {} if token is None else {"authorization": f"Bearer {token}"},
            "timeout": TIMEOUT_S,
        }
        self.retrying: dict[str, Any] = {
            "retry": retry_if_exception_type((_Busy, httpx.TransportError)),
            "stop": stop_after_attempt(ATTEMPTS),
            "wait": _wait_s,
            "retry_error_callback": self._give_up,
        }

    def _give_up(self, state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        raise EndpointError(f"{self.url} did not answer in {ATTEMPTS} attempts: {error}") from error

    def bodies(
        self,
        samples: Iterable[Sample],
        **more: Any,  # noqa: ANN401 - any JSON value
    ) -> Iterator[tuple[int, dict[str, Any]]]:
        """Divide samples into requests, each with the place of its first sample."""
        rest, start = iter(samples), 0
        while batch := list(islice(rest, self.batch)):
            yield start, {"samples": [each.model_dump(exclude_none=True) for each in batch], **more}
            start += len(batch)

    def read(self, response: httpx.Response) -> bytes | list[SampleError]:
        """Read an answer: a document, or the errors of samples none of which is usable."""
        if response.is_success:
            return response.content
        if response.status_code in PASSING:
            after = response.headers.get("retry-after", "")
            raise _Busy(f"status {response.status_code}", float(after) if after.isdigit() else 0.0)
        try:
            problem = Problem.model_validate_json(response.content)
        except pydantic.ValidationError:
            problem = Problem(error=response.reason_phrase)
        if problem.errors:
            return problem.errors
        raise EndpointError(f"{self.url}: {response.status_code}: {problem.error}")


class Client:
    """Asks an endpoint; close it, or use it in a `with` block."""

    def __init__(self, url: str, token: str | None = None, batch: int = BATCH) -> None:
        self.endpoint = _Endpoint(url, token, batch)
        self.http = httpx.Client(**self.endpoint.connection)
        self.retrying = Retrying(**self.endpoint.retrying)

    def __enter__(self) -> Self:
        """Return the client."""
        return self

    def __exit__(self, *error: object) -> None:
        """Close its connections."""
        self.close()

    def close(self) -> None:
        """Close all connections."""
        self.http.close()

    def score(
        self, samples: Iterable[Sample], task: str | None = None, specialists: bool = False
    ) -> Iterator[VersionedScore | SampleError]:
        """Score samples, in their order; `index` counts over all of them.

        Raises:
            EndpointError: a request is refused, or not answered in all attempts.
        """
        more = {"task": task, "specialists": specialists}
        for start, body in self.endpoint.bodies(samples, **more):
            yield from _scores(self._send("POST", "/v1/score", body), start)

    def embed(
        self, samples: Iterable[Sample], task: str | None = None
    ) -> Iterator[SampleEmbedding | SampleError]:
        """Encode samples, in their order; `index` counts over all of them.

        Raises:
            EndpointError: a request is refused, or not answered in all attempts.
        """
        for start, body in self.endpoint.bodies(samples, task=task):
            yield from _embeddings(self._send("POST", "/v1/embed", body), start)

    def models(self) -> ModelsResponse:
        """Ask which version answers.

        Raises:
            EndpointError: the request is refused, or not answered in all attempts.
        """
        return _models(self._send("GET", "/v1/models"))

    def _send(
        self, method: str, path: str, body: dict[str, Any] | None = None
    ) -> bytes | list[SampleError]:
        def once() -> bytes | list[SampleError]:
            return self.endpoint.read(self.http.request(method, path, json=body))

        return self.retrying(once)


class AsyncClient:
    """Asks an endpoint from asyncio; close it, or use it in an `async with` block."""

    def __init__(self, url: str, token: str | None = None, batch: int = BATCH) -> None:
        self.endpoint = _Endpoint(url, token, batch)
        self.http = httpx.AsyncClient(**self.endpoint.connection)
        self.retrying = AsyncRetrying(**self.endpoint.retrying)

    async def __aenter__(self) -> Self:
        """Return the client."""
        return self

    async def __aexit__(self, *error: object) -> None:
        """Close its connections."""
        await self.close()

    async def close(self) -> None:
        """Close all connections."""
        await self.http.aclose()

    async def score(
        self, samples: Iterable[Sample], task: str | None = None, specialists: bool = False
    ) -> AsyncIterator[VersionedScore | SampleError]:
        """Score samples, in their order; `index` counts over all of them.

        Raises:
            EndpointError: a request is refused, or not answered in all attempts.
        """
        more = {"task": task, "specialists": specialists}
        async for start, answer in self._send_all("/v1/score", samples, more):
            for each in _scores(answer, start):
                yield each

    async def embed(
        self, samples: Iterable[Sample], task: str | None = None
    ) -> AsyncIterator[SampleEmbedding | SampleError]:
        """Encode samples, in their order; `index` counts over all of them.

        Raises:
            EndpointError: a request is refused, or not answered in all attempts.
        """
        async for start, answer in self._send_all("/v1/embed", samples, {"task": task}):
            for each in _embeddings(answer, start):
                yield each

    async def models(self) -> ModelsResponse:
        """Ask which version answers.

        Raises:
            EndpointError: the request is refused, or not answered in all attempts.
        """
        return _models(await self._send("GET", "/v1/models"))

    async def _send_all(
        self, path: str, samples: Iterable[Sample], more: dict[str, Any]
    ) -> AsyncIterator[tuple[int, bytes | list[SampleError]]]:
        """Send all batches, a few at once; their answers come in order."""
        bodies = self.endpoint.bodies(samples, **more)
        while some := list(islice(bodies, AT_ONCE)):
            answers = await asyncio.gather(*(self._send("POST", path, body) for _, body in some))
            for (start, _), answer in zip(some, answers, strict=True):
                yield start, answer

    async def _send(
        self, method: str, path: str, body: dict[str, Any] | None = None
    ) -> bytes | list[SampleError]:
        async def once() -> bytes | list[SampleError]:
            return self.endpoint.read(await self.http.request(method, path, json=body))

        return await self.retrying(once)


def _wait_s(state: RetryCallState) -> float:
    """Wait as long as the endpoint told, and a random time more, so that clients come apart."""
    error = state.outcome.exception() if state.outcome else None
    told = error.after_s if isinstance(error, _Busy) else 0.0
    return told + float(wait_random_exponential(multiplier=0.1, max=10)(state))


def _scores(
    answer: bytes | list[SampleError], start: int
) -> Iterator[VersionedScore | SampleError]:
    if isinstance(answer, list):
        return _in_order([], answer, start)
    found = ScoreResponse.model_validate_json(answer)
    results = [VersionedScore(**dict(each), version=found.version) for each in found.results]
    return _in_order(results, found.errors, start)


def _embeddings(
    answer: bytes | list[SampleError], start: int
) -> Iterator[SampleEmbedding | SampleError]:
    if isinstance(answer, list):
        return _in_order([], answer, start)
    found = EmbedResponse.model_validate_json(answer)
    return _in_order(found.results, found.errors, start)


def _in_order(results: list[Any], errors: list[SampleError], start: int) -> Iterator[Any]:
    """Merge what became of a request's samples, by their place among all samples."""
    for each in sorted([*results, *errors], key=lambda each: each.index):
        yield each.model_copy(update={"index": start + each.index})


def _models(answer: bytes | list[SampleError]) -> ModelsResponse:
    assert isinstance(answer, bytes)
    return ModelsResponse.model_validate_json(answer)
