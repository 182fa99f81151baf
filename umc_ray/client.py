"""A client for a scoring endpoint: `Client`, and `AsyncClient` for asyncio.

    with Client("http://127.0.0.1:8000", token=...) as client:
        for result in client.score([Sample(text="what a day")]):
            print(result)

Samples are sent in batches. One that the endpoint finds too large is split. A sample that is too
large by itself, or no Unicode, is an error of that sample alone. While the endpoint is busy or
restarting, the client retries after the time that the endpoint asks for; it logs a warning where
nobody answers. A request that the endpoint refuses raises EndpointError.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from itertools import islice
from typing import Any, Self

import httpx
import pydantic
from tenacity import AsyncRetrying, RetryCallState, Retrying, retry_if_exception_type

from umc_ray.errors import ConfigError, UmcError
from umc_ray.serving.client_batch import Batch
from umc_ray.serving.client_retries import Busy, Outage, failure, gives_up, wait_s
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
CONCURRENCY = 2
"""Requests in flight per AsyncClient: one is computed while the next one waits."""

TIMEOUT_S = 60.0
CONNECT_S = 10.0
"""For a connection: an address where nothing is does not say so."""

RETRY_STATUSES = (429, 502, 503, 504)
"""The endpoint is busy, or the proxy cannot reach it at the moment."""

AS_JSON = {"content-type": "application/json"}


class EndpointError(UmcError):
    """The endpoint refused a request or did not respond."""


class _TooLarge(EndpointError):
    """The endpoint takes less at a time."""


class VersionedScore(SampleScore):
    """A score with the version of the specialists."""

    version: str
    by_heads: bool = pydantic.Field(
        False, description="under overload, fine-tuned specialists were left out"
    )


ResponseBody = bytes | list[SampleError]
"""A JSON document, or if no sample is valid, their errors."""

Reader = Callable[[ResponseBody], list[Any]]
"""Returns the results and the errors of a response."""


class _Endpoint:
    """What both clients share: everything except I/O."""

    def __init__(self, url: str, token: str | None, batch: int) -> None:
        self.url, self.batch = url.rstrip("/"), batch
        self.outage = Outage(self.url)
        self.connection: dict[str, Any] = {
            "base_url": self.url,
            "headers": {} if token is None else {"authorization": f"Bearer {_checked(token)}"},
            "timeout": httpx.Timeout(TIMEOUT_S, connect=CONNECT_S),
        }
        self.retrying: dict[str, Any] = {
            "retry": retry_if_exception_type((Busy, httpx.TransportError)),
            "stop": gives_up,
            "wait": wait_s,
            "before_sleep": self.outage.say,
            "retry_error_callback": self._give_up,
        }

    def _give_up(self, state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        self.outage.end()
        raise EndpointError(failure(self.url, state)) from error

    def batches(self, samples: Iterable[Sample], options: dict[str, Any]) -> Iterator[Batch]:
        """Split samples into batches."""
        iterator = iter(enumerate(samples))
        while batch := list(islice(iterator, self.batch)):
            yield Batch.of(batch, options)

    def read(self, response: httpx.Response) -> ResponseBody:
        """Return the body of a response.

        Raises:
            EndpointError: the endpoint refused the request.
        """
        problem = None if response.is_success else _problem(response)
        if problem and response.status_code in RETRY_STATUSES:
            after = response.headers.get("retry-after", "")
            said = f"status {response.status_code}: {problem.error}"
            raise Busy(said, float(after) if after.isdigit() else 0.0)
        self.outage.end()
        if problem is None:
            return response.content
        if problem.errors:
            return problem.errors
        if response.status_code == 413:
            raise _TooLarge(problem.error)
        raise EndpointError(f"{self.url}: {response.status_code}: {problem.error}")


class Client:
    """A blocking client; close it, or use it in a `with` block."""

    def __init__(self, url: str, token: str | None = None, batch: int = BATCH) -> None:
        self.endpoint = _Endpoint(url, token, batch)
        self.http = httpx.Client(**self.endpoint.connection)
        self.retrying = Retrying(**self.endpoint.retrying)

    def __enter__(self) -> Self:
        """Return the client."""
        return self

    def __exit__(self, *error: object) -> None:
        """Close all connections."""
        self.close()

    def close(self) -> None:
        """Close all connections."""
        self.http.close()

    def score(
        self,
        samples: Iterable[Sample],
        task: str | None = None,
        specialists: bool = False,
        columns: bool = False,
        domain: str | None = None,
    ) -> Iterator[VersionedScore | SampleError]:
        """Score samples, in order; `index` is the position among all of them.

        Raises:
            EndpointError: a request was refused, or had no response in all attempts.
        """
        options = _score_options(task, specialists, columns, domain)
        for batch in self.endpoint.batches(samples, options):
            yield from self._ask("/v1/score", batch, _scores)

    def embed(
        self, samples: Iterable[Sample], task: str | None = None
    ) -> Iterator[SampleEmbedding | SampleError]:
        """Encode samples, in order; `index` is the position among all of them.

        Raises:
            EndpointError: a request was refused, or had no response in all attempts.
        """
        for batch in self.endpoint.batches(samples, {"task": task}):
            yield from self._ask("/v1/embed", batch, _embeddings)

    def models(self) -> ModelsResponse:
        """Return the version that is served.

        Raises:
            EndpointError: the request was refused, or had no response in all attempts.
        """
        return _models(self._send("GET", "/v1/models"))

    def _ask(self, path: str, batch: Batch, read: Reader) -> list[Any]:
        if not batch.samples:
            return batch.errors
        try:
            body = self._send("POST", path, batch.body)
        except _TooLarge as error:
            halves = batch.halves(str(error))
            return [each for half in halves for each in self._ask(path, half, read)]
        return batch.merge(read(body))

    def _send(self, method: str, path: str, body: bytes | None = None) -> ResponseBody:
        def once() -> ResponseBody:
            return self.endpoint.read(
                self.http.request(method, path, content=body, headers=AS_JSON)
            )

        return self.retrying(once)


class AsyncClient:
    """A client for asyncio; close it, or use it in an `async with` block."""

    def __init__(self, url: str, token: str | None = None, batch: int = BATCH) -> None:
        self.endpoint = _Endpoint(url, token, batch)
        self.http = httpx.AsyncClient(**self.endpoint.connection)
        self.retrying = AsyncRetrying(**self.endpoint.retrying)

    async def __aenter__(self) -> Self:
        """Return the client."""
        return self

    async def __aexit__(self, *error: object) -> None:
        """Close all connections."""
        await self.close()

    async def close(self) -> None:
        """Close all connections."""
        await self.http.aclose()

    async def score(
        self,
        samples: Iterable[Sample],
        task: str | None = None,
        specialists: bool = False,
        columns: bool = False,
        domain: str | None = None,
    ) -> AsyncIterator[VersionedScore | SampleError]:
        """Score samples, in order; `index` is the position among all of them.

        Raises:
            EndpointError: a request was refused, or had no response in all attempts.
        """
        options = _score_options(task, specialists, columns, domain)
        async for score in self._ask_all("/v1/score", samples, options, _scores):
            yield score

    async def embed(
        self, samples: Iterable[Sample], task: str | None = None
    ) -> AsyncIterator[SampleEmbedding | SampleError]:
        """Encode samples, in order; `index` is the position among all of them.

        Raises:
            EndpointError: a request was refused, or had no response in all attempts.
        """
        async for embedding in self._ask_all("/v1/embed", samples, {"task": task}, _embeddings):
            yield embedding

    async def models(self) -> ModelsResponse:
        """Return the version that is served.

        Raises:
            EndpointError: the request was refused, or had no response in all attempts.
        """
        return _models(await self._send("GET", "/v1/models"))

    async def _ask_all(
        self, path: str, samples: Iterable[Sample], options: dict[str, Any], read: Reader
    ) -> AsyncIterator[Any]:
        """Send all batches, a few at once; yield the results in order."""
        batches = self.endpoint.batches(samples, options)
        while group := list(islice(batches, CONCURRENCY)):
            for results in await asyncio.gather(*(self._ask(path, each, read) for each in group)):
                for result in results:
                    yield result

    async def _ask(self, path: str, batch: Batch, read: Reader) -> list[Any]:
        if not batch.samples:
            return batch.errors
        try:
            body = await self._send("POST", path, batch.body)
        except _TooLarge as error:
            halves = batch.halves(str(error))
            return [each for half in halves for each in await self._ask(path, half, read)]
        return batch.merge(read(body))

    async def _send(self, method: str, path: str, body: bytes | None = None) -> ResponseBody:
        async def once() -> ResponseBody:
            return self.endpoint.read(
                await self.http.request(method, path, content=body, headers=AS_JSON)
            )

        return await self.retrying(once)


def _checked(token: str) -> str:
    """Refuse a token that no header can hold, without repeating it."""
    if not re.fullmatch("[!-~]*", token):
        raise ConfigError("the token has characters other than ASCII letters, digits and marks")
    return token


def _problem(response: httpx.Response) -> Problem:
    try:
        return Problem.model_validate_json(response.content)
    except pydantic.ValidationError:  # an error page of something else
        return Problem(error=response.reason_phrase)


def _score_options(
    task: str | None, specialists: bool, columns: bool, domain: str | None
) -> dict[str, Any]:
    options: dict[str, Any] = {"task": task, "specialists": specialists, "columns": columns}
    return options if domain is None else {**options, "domain": domain}


def _scores(body: ResponseBody) -> list[VersionedScore | SampleError]:
    if isinstance(body, list):
        return [*body]
    response = ScoreResponse.model_validate_json(body)
    results = [
        VersionedScore(**dict(result), version=response.version, by_heads=response.by_heads)
        for result in response.results
    ]
    return [*results, *response.errors]


def _embeddings(body: ResponseBody) -> list[SampleEmbedding | SampleError]:
    if isinstance(body, list):
        return [*body]
    response = EmbedResponse.model_validate_json(body)
    return [*response.results, *response.errors]


def _models(body: ResponseBody) -> ModelsResponse:
    assert isinstance(body, bytes)
    return ModelsResponse.model_validate_json(body)
