"""The JSON of a request, read within bounds that keep it cheap, and not on the event loop."""

import asyncio
import json
import re
from collections.abc import Callable, Coroutine
from typing import Any

from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import Response

from umc_ray.methods.json_objects import (
    RepeatedKey,
    TooManyCommas,
    TooManyKeys,
    read_bounded,
)
from umc_ray.serving.messages import EmbedRequest, Sample, ScoreRequest
from umc_ray.serving.refusal import Refusal

MOST_COMMAS = 500_000
"""In a request, those of texts included: more values than any list of samples has."""

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
    try:
        value = read_bounded(body, MOST_COMMAS)
        if SURROGATE.search(body):  # half of a pair is no character: whoever writes it fails
            json.dumps(value, ensure_ascii=False).encode()
    except RepeatedKey as error:
        raise Refusal(422, error.to_client(KNOWN)) from error
    except TooManyCommas as error:
        raise Refusal(413, str(error)) from error
    except TooManyKeys as error:
        raise Refusal(422, str(error)) from error
    except ValueError as error:
        raise Refusal(422, "the body is not JSON in UTF-8") from error
    return value


def _check_type(request: Request) -> None:
    """Refuse what a page of another site can send without asking, such as text/plain."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise Refusal(415, "the body must be of content type application/json")
