"""Open text files of any encoding, and guess what a file is that nobody described.

A byte that the encoding does not allow becomes the lone surrogate U+DC00 + byte, which no valid
text contains: so it costs the row it is in and not the file.
"""

import codecs
import io
from collections.abc import Iterator

import pyarrow as pa

from umc_ray.ingest.sources import BadRow, locate

HEAD_BYTES = 1 << 16
MARK_BYTES = 8
MAX_LINE_CHARS = 1 << 26

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # begins as UTF-16 does, so it comes first
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_OTHER_FORMATS = (
    (b"PAR1", "Parquet: rename it to .parquet"),
    (b"ARROW1", "Arrow: rename it to .arrow"),
    (b"\x1f\x8b", "compressed with gzip: add .gz to its name"),
    (b"PK\x03\x04", "an Excel workbook or a zip file: save the sheet as CSV UTF-8"),
    (b"\xd0\xcf\x11\xe0", "an Excel workbook: save the sheet as CSV UTF-8"),
)
"""How files begin that are no text, and what to do with them."""

_FIRST_LOST, _LAST_LOST = "\udc00", "\udcff"


def _keep_bytes(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeDecodeError)
    lost = error.object[error.start : error.end]
    return "".join(chr(ord(_FIRST_LOST) + byte) for byte in lost), error.end


codecs.register_error("umc_ray.keep_bytes", _keep_bytes)


def open_text(uri: str, newline: str, encoding: str | None) -> io.TextIOWrapper:
    """Open a text file, decompressed; a byte order mark says more than `encoding`.

    Raises:
        BadRow: it is no text, whatever its name says.
    """
    head = read_head(uri, MARK_BYTES)
    if what := other_format(head):
        raise BadRow("unreadable file", f"it is {what}")
    used = encoding_of(head, encoding)
    return io.TextIOWrapper(_open(uri), used, errors="umc_ray.keep_bytes", newline=newline)


def read_head(uri: str, size: int = HEAD_BYTES) -> bytes:
    """Read the beginning of a file, decompressed."""
    with _open(uri) as stream:
        return bytes(stream.read(size))


def other_format(head: bytes) -> str | None:
    """Say what a file is that begins like this, and what to do with it; None if it can be text."""
    return next((what for mark, what in _OTHER_FORMATS if head.startswith(mark)), None)


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


def misread(uri: str, declared: str | None) -> str | None:
    """Say that a file is UTF-8 although another encoding is declared; None if it is not."""
    if declared is None or codecs.lookup(declared).name == "utf-8":
        return None
    try:
        head = read_head(uri)
    except (OSError, pa.ArrowException):
        return None  # reading it will say why
    is_utf_8 = not head.isascii() and suggested_encoding(head) is None
    if not is_utf_8 or encoding_of(head, declared) != declared:
        return None
    return f"text files of UTF-8 read as {declared}, so letters are wrong: remove encoding"


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
