"""Open text files of any encoding, and guess what a file is that nobody described.

A byte that the encoding does not allow becomes the lone surrogate U+DC00 + byte, which no valid
text contains: so it costs the row it is in and not the file.
"""

import codecs
import io
from collections.abc import Iterator

import pyarrow as pa

from umc_ray.ingest.sources import locate

HEAD_BYTES = 1 << 16
MARK_BYTES = 4
MAX_LINE_CHARS = 1 << 26

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # begins as UTF-16 does, so it comes first
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_FIRST_LOST, _LAST_LOST = "\udc00", "\udcff"


def _keep_bytes(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeDecodeError)
    lost = error.object[error.start : error.end]
    return "".join(chr(ord(_FIRST_LOST) + byte) for byte in lost), error.end


codecs.register_error("umc_ray.keep_bytes", _keep_bytes)


def open_text(uri: str, newline: str, encoding: str | None) -> io.TextIOWrapper:
    """Open a text file, decompressed; a byte order mark says more than `encoding`."""
    used = encoding_of(read_head(uri, MARK_BYTES), encoding)
    return io.TextIOWrapper(_open(uri), used, errors="umc_ray.keep_bytes", newline=newline)


def read_head(uri: str, size: int = HEAD_BYTES) -> bytes:
    """Read the beginning of a file, decompressed."""
    with _open(uri) as stream:
        return bytes(stream.read(size))


def encoding_of(head: bytes, declared: str | None) -> str:
    """Return the encoding of a file that begins like this: by its mark, as declared, or UTF-8."""
    return next((name for mark, name in _MARKS if head.startswith(mark)), declared or "utf-8")


def suggested_encoding(head: bytes) -> str | None:
    """Return the encoding that a file probably has if nobody says and it is not UTF-8."""
    if head.startswith(tuple(mark for mark, _ in _MARKS)):
        return None
    even, odd = head[::2].count(0), head[1::2].count(0)
    if max(even, odd) > len(head) // 8:  # Latin letters in UTF-16
        return "utf-16-le" if odd > even else "utf-16-be"
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        return "cp1252"
    return None


def lost_byte(text: str) -> tuple[int, int] | None:
    """Return the first byte of a text that could not be decoded, and its character's index."""
    if text.isascii():
        return None
    found = ((i, ord(c)) for i, c in enumerate(text) if _FIRST_LOST <= c <= _LAST_LOST)
    return next(((code - ord(_FIRST_LOST), i) for i, code in found), None)


def lines(text: io.TextIOWrapper) -> Iterator[str]:
    """Yield lines; very long lines are truncated, so that memory is bounded."""
    while line := text.readline(MAX_LINE_CHARS):
        rest = line
        while rest and not rest.endswith(("\n", "\r")):
            rest = text.readline(MAX_LINE_CHARS)
        yield line


def _open(uri: str) -> pa.NativeFile:
    filesystem, path = locate(uri)
    return filesystem.open_input_stream(path, compression="detect", buffer_size=1 << 20)
