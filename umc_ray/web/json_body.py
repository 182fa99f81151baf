"""The JSON of a request, whose sender must be allowed to send it before any of it is read.

It is bounded, has no key twice, and is not read on the event loop where it is long.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from umc_ray.methods.json_objects import RepeatedKey, TooManyCommas, TooManyKeys, read_bounded
from umc_ray.web.auth import RequireRole
from umc_ray.web.bodies import BODY_S, FILE_BYTES, FILE_S, JSON_BYTES, read_body
from umc_ray.web.messages import Message

LONG_BYTES = 100_000
"""Less is read in a few milliseconds, at once."""


class JsonRoute(APIRoute):
    """A route for what the page sends. FastAPI alone would read a body before it asks who sent it.

    Commas count those of texts, too.
    """

    most_bytes, most_commas, within_s = JSON_BYTES, 20_000, BODY_S

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Check the role, then have the request read its JSON within the bounds."""
        handle = super().get_route_handler()
        calls = [each.call for each in self.dependant.dependencies]
        roles = [each for each in calls if isinstance(each, RequireRole)]

        async def bounded(request: Request) -> Response:
            own = _BoundedRequest(request.scope, request.receive)
            own.route = self
            for require_role in roles:
                await require_role(own)
            return await handle(own)

        return bounded


class FileRoute(JsonRoute):
    """A route for batches of samples and files of labels."""

    most_bytes, most_commas, within_s = FILE_BYTES, 500_000, FILE_S


class _BoundedRequest(Request):
    route: JsonRoute

    async def body(self) -> bytes:
        """Return the body.

        Raises:
            HTTPException: it is too large, takes too long, or does not end.
        """
        return await read_body(self, self.route.most_bytes, self.route.within_s)

    async def json(self) -> Any:  # noqa: ANN401 - any JSON
        """Return the value of the body.

        Raises:
            HTTPException: it is not JSON, too large in one of its parts, or has a key twice.
        """
        if not hasattr(self, "_json"):
            body, most = await self.body(), self.route.most_commas
            is_long = len(body) > LONG_BYTES
            self._json = (
                await asyncio.to_thread(_read, body, most) if is_long else _read(body, most)
            )
        return self._json


def _read(body: bytes, most_commas: int) -> object:
    try:
        return read_bounded(body, most_commas)
    except RepeatedKey as error:
        known = {name for kind in Message.__subclasses__() for name in kind.model_fields}
        raise HTTPException(422, error.to_client(known)) from error
    except TooManyCommas as error:
        raise HTTPException(413, str(error)) from error
    except TooManyKeys as error:
        raise HTTPException(422, str(error)) from error
    except ValueError as error:
        raise HTTPException(422, "the request body is not JSON in UTF-8") from error
