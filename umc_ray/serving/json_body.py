"""The JSON of a request, read within bounds that keep it cheap, and not on the event loop.

A few megabytes of zeros, or of keys, would otherwise become gigabytes of errors, one for each.
"""

import asyncio
import json
import re
from collections.abc import Callable, Coroutine
from typing import Any

from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import Response

from umc_ray.methods.json_objects import RepeatedKey, unique_keys
from umc_ray.serving.messages import EmbedRequest, Sample, ScoreRequest
from umc_ray.serving.refusal import Refusal

MOST_COMMAS = 500_000
"""In a request, those of texts included: more values than any list of samples has."""

MOST_KEYS = 1000
"""Of one object."""

KNOWN = frozenset(
    name for model in (EmbedRequest, ScoreRequest, Sample) for name in model.model_fields
)
"""The keys of requests."""

SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
"""How the halves of a character are written that needs two of them."""


class BoundedRoute(APIRoute):
    """A route whose requests are JSON within these bounds, or have no body."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Read the JSON before anything else does."""
        handle = super().get_route_handler()

        async def bounded(request: Request) -> Response:
            own = BoundedRequest(request.scope, request.receive)
            if await own.body():
                _check_type(own)
                await own.json()
            return await handle(own)

        return bounded


class BoundedRequest(Request):
    """A request whose JSON is read once, within the bounds."""

    async def json(self) -> Any:  # noqa: ANN401 - any JSON
        """Return the value of the body.

        Raises:
            Refusal: it is not JSON, or too large in one of its parts.
        """
        if not hasattr(self, "_json"):
            body = await self.body()
            self._json = await asyncio.to_thread(read_json, body)
        return self._json


def read_json(body: bytes) -> object:
    """Return the value of a text in JSON.

    Raises:
        Refusal: it is not JSON, too large in one of its parts, or has a key twice.
    """
    if body.count(b",") > MOST_COMMAS:
        raise Refusal(413, f"the body has more than {MOST_COMMAS} commas: send less at a time")
    try:
        value = json.loads(body.decode(), object_pairs_hook=_object)
        if SURROGATE.search(body):  # half of a pair is no character: whoever writes it fails
            json.dumps(value, ensure_ascii=False).encode()
    except RepeatedKey as error:
        raise Refusal(422, error.to_client(KNOWN)) from error
    except (ValueError, RecursionError) as error:
        raise Refusal(422, "the body is not JSON in UTF-8") from error
    return value


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    if len(pairs) > MOST_KEYS:
        raise Refusal(422, f"an object has more than {MOST_KEYS} keys")
    return unique_keys(pairs)


def _check_type(request: Request) -> None:
    """Refuse what a page of another site can send without asking, such as text/plain."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise Refusal(415, "the body must be of content type application/json")
