"""Bodies of requests: read within limits on size and time, and only once their sender is known."""

import asyncio

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request

FORM_BYTES = 64_000
"""Of a form, all of which are small; a stranger can send the one for logging in."""

JSON_BYTES = 1_000_000
"""Of what the page sends: an answer to a group has some 30 kB."""

FILE_BYTES = 20_000_000
"""Of a batch of samples or a file of labels."""

BODY_S = 30.0
FILE_S = 600.0


async def read_body(request: Request, most_bytes: int, within_s: float = BODY_S) -> bytes:
    """Return the body of a request; what was read is kept, as Starlette does.

    Raises:
        HTTPException: the body is too large, takes too long, or does not end.
    """
    if not hasattr(request, "_body"):
        declared = request.headers.get("content-length", "")
        if declared.isdecimal() and int(declared[:20]) > most_bytes:
            raise _too_large(most_bytes)
        try:
            async with asyncio.timeout(within_s):
                request._body = await _read(request, most_bytes)
        except TimeoutError:
            raise HTTPException(408, "the request body did not arrive in time") from None
        except ClientDisconnect:
            raise HTTPException(400, "the request body did not end") from None
    return request._body


async def _read(request: Request, most_bytes: int) -> bytes:
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > most_bytes:
            raise _too_large(most_bytes)
    return bytes(body)


def _too_large(most_bytes: int) -> HTTPException:
    return HTTPException(413, f"the request body has more than {most_bytes} bytes")
