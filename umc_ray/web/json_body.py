"""The JSON of a request: no key is given twice, and what is long is not read on the event loop."""

import asyncio
import json
from collections.abc import Callable, Coroutine
from typing import Any

from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from umc_ray.methods.json_objects import RepeatedKey, unique_keys
from umc_ray.web.messages import Message

LONG_BYTES = 100_000
"""Less is read in a few milliseconds, at once."""


class UniqueKeysRoute(APIRoute):
    """A route whose JSON has no key twice."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Have the request read its JSON that way."""
        handle = super().get_route_handler()

        async def with_unique_keys(request: Request) -> Response:
            return await handle(_UniqueKeysRequest(request.scope, request.receive))

        return with_unique_keys


class _UniqueKeysRequest(Request):
    async def json(self) -> Any:  # noqa: ANN401 - any JSON
        """Return the value of the body.

        Raises:
            HTTPException: an object has a key twice.
            JSONDecodeError: it is not JSON.
        """
        if not hasattr(self, "_json"):
            body = await self.body()
            is_long = len(body) > LONG_BYTES
            self._json = await asyncio.to_thread(_read, body) if is_long else _read(body)
        return self._json


def _read(body: bytes) -> object:
    try:
        return json.loads(body, object_pairs_hook=unique_keys)
    except RepeatedKey as error:
        known = {name for kind in Message.__subclasses__() for name in kind.model_fields}
        raise HTTPException(422, error.to_client(known)) from error
