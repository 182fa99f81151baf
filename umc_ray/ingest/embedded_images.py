"""Images that a table holds as text: data URIs and bare Base64."""

import base64
import binascii
import re

from umc_ray.ingest.sources import BadRow

_DATA_URI = re.compile(r"data:image/[\w.+-]+(;[\w=.+-]+)*;base64,", re.ASCII | re.IGNORECASE)
_BASE64 = re.compile(r"[A-Za-z0-9+/\s]+={0,2}\s*", re.ASCII)
_MIN_CHARS = 44  # of the smallest image; a shorter text is a path
_STARTS = (b"\x89PNG\r\n", b"\xff\xd8\xff", b"GIF8", b"RIFF", b"BM", b"II*\0", b"MM\0*")
_FTYP = b"ftyp"  # of HEIC and AVIF, after four bytes


def embedded_image(text: str, max_bytes: int) -> bytes | None:
    """Return the image that a text holds; None if it is none, such as a path.

    Bare Base64 counts only if what it holds begins as an image file does, so that no path is taken
    for one.

    Raises:
        BadRow: a data URI is broken, or the image has more bytes than that.
    """
    prefix = _DATA_URI.match(text)
    body = text[prefix.end() :] if prefix else text
    if prefix is None and not _may_be_base64(body):
        return None
    if len(body) * 3 // 4 > max_bytes:
        raise BadRow("image too large", f"{len(body) * 3 // 4} bytes")
    try:
        data = base64.b64decode("".join(body.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        if prefix is None:
            return None
        raise BadRow("undecodable image", f"Base64 of a data URI: {error}") from error
    return data if prefix or _is_image(data) else None


def _may_be_base64(text: str) -> bool:
    return len(text) >= _MIN_CHARS and _BASE64.fullmatch(text) is not None


def _is_image(data: bytes) -> bool:
    return data.startswith(_STARTS) or data[4:8] == _FTYP
