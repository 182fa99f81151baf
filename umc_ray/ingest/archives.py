"""Read the images in zip and tar files, one by one, without unpacking the files.

In a WebDataset, files that stand together and have one name up to the first dot are one sample:
`000.jpg`, `000.cls` and `000.json`.
"""

import json
import tarfile
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import groupby
from typing import IO, Self

import pyarrow as pa

from umc_ray.ingest.sources import IMAGES, BadRow, count_ignored, locate, read_error

BROKEN_ARCHIVE = (
    *(zipfile.BadZipFile, tarfile.TarError, zlib.error),
    *(EOFError, OSError, pa.ArrowException),
)
BROKEN_MEMBER = (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError)  # the last: encrypted
OUTSIDE = "ignored: files of an archive with .. in their names, which lead out of it"
NO_END = (tarfile.EmptyHeaderError, tarfile.TruncatedHeaderError)  # type: ignore[attr-defined]

Opener = Callable[[], IO[bytes] | None]


@dataclass(frozen=True)
class Member:
    """A file in an archive, and what the files beside it say about it."""

    name: str
    content: bytes | BadRow
    beside: Mapping[str, object] = field(default_factory=dict)

    @property
    def stem(self) -> str:
        """The name of the sample that it belongs to."""
        folder, _, name = self.name.rpartition("/")
        return f"{folder}/{name.partition('.')[0]}"

    @property
    def is_sample(self) -> bool:
        """Whether it is an image, or stands for what cannot be read."""
        return isinstance(self.content, BadRow) or _is_image(self.name)


def read_archive(
    uri: str, max_bytes: int, with_files_beside: bool, notes: Counter[str]
) -> Iterator[Member]:
    """Yield the images of an archive in their order, and count the files that are not read.

    If the archive breaks off, the last one is a BadRow.

    Raises:
        DataError: the archive is inaccessible.
    """
    try:
        members = _read(uri, max_bytes, with_files_beside, notes)
        yield from _join(members) if with_files_beside else members
    except BROKEN_ARCHIVE as error:
        problem = read_error("file", uri, error)
        if not isinstance(problem, BadRow):
            raise problem from error
        yield Member("", problem)


def _read(
    uri: str, max_bytes: int, with_files_beside: bool, notes: Counter[str]
) -> Iterator[Member]:
    filesystem, path = locate(uri)
    read, ignored = _read_zip if uri.lower().endswith(".zip") else _read_tar, list[str]()
    with filesystem.open_input_file(path) as file:
        for name, size, open_member in read(file):
            if ".." in name.split("/"):
                notes[OUTSIDE] += 1
            elif _is_hidden(name):
                continue
            elif with_files_beside or _is_image(name):
                yield Member(name, _content(size, open_member, max_bytes))
            else:
                ignored.append(name)
    notes.update(count_ignored(ignored))


def _read_zip(file: IO[bytes]) -> Iterator[tuple[str, int, Opener]]:
    with zipfile.ZipFile(file) as archive:
        for info in archive.infolist():
            if not info.is_dir():
                yield info.filename, info.file_size, partial(archive.open, info)


def _read_tar(file: IO[bytes]) -> Iterator[tuple[str, int, Opener]]:
    with tarfile.open(fileobj=file, mode="r|*", tarinfo=_Header) as archive:
        for info in archive:
            name = info.name.removeprefix("./")
            if info.isfile():
                yield name, info.size, partial(archive.extractfile, info)


class _Header(tarfile.TarInfo):
    """A header that is missed where an archive breaks off between files; tarfile ignores that."""

    @classmethod
    def fromtarfile(cls, archive: tarfile.TarFile) -> Self:
        """Read the next header."""
        try:
            return super().fromtarfile(archive)
        except NO_END as error:
            raise tarfile.ReadError("the end of the archive is missing") from error


def _content(size: int, open_member: Opener, max_bytes: int) -> bytes | BadRow:
    """Read a file, at most so many bytes of it: a header may lie."""
    if size > max_bytes:
        return BadRow("image too large", f"{size} bytes")
    try:
        file = open_member()
        assert file is not None  # only files are opened
        with file:
            content = file.read(max_bytes + 1)
    except BROKEN_MEMBER as error:
        return BadRow("unreadable image", str(error))
    return content if len(content) <= max_bytes else BadRow("image too large", "when unpacked")


def _join(members: Iterable[Member]) -> Iterator[Member]:
    """Yield the images of a WebDataset, with what stands beside them."""
    for _, group in groupby(members, key=lambda member: member.stem):
        together = list(group)
        beside: dict[str, object] = {}
        for member in together:
            beside |= _said_by(member)
        yield from (replace(each, beside=beside) for each in together if each.is_sample)


def _said_by(member: Member) -> Mapping[str, object]:
    """Return the fields of a .json file, or the text of another by its ending."""
    ending = member.name.rpartition("/")[2].partition(".")[2]
    if member.is_sample or isinstance(member.content, BadRow):
        return {}
    try:
        text = member.content.decode().strip()
        fields = json.loads(text) if ending == "json" else {ending: text}
    except ValueError:
        return {}
    return fields if isinstance(fields, dict) else {}


def _is_image(name: str) -> bool:
    return name.lower().endswith(IMAGES)


def _is_hidden(name: str) -> bool:
    """Return whether a file is hidden, or one of those that macOS adds to zip files."""
    return any(step.startswith((".", "__MACOSX")) for step in name.split("/"))
