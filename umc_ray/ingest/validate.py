"""What makes a row of a source usable, and what is wrong with it where it is not."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from umc_ray.config.campaign import CampaignConfig
from umc_ray.config.task import WITHOUT_WEIGHTS, DomainConfig
from umc_ray.errors import ConfigError, DataError
from umc_ray.ingest.image_check import check_image
from umc_ray.ingest.pixels import has_colors
from umc_ray.ingest.readers import Values
from umc_ray.ingest.sources import ARCHIVES, IMAGES, TABLES, BadRow, find_image
from umc_ray.methods.identity import content_hash
from umc_ray.records import DomainKey, Split
from umc_ray.tasks.task import TaskKind

FOLDER = "folder"  # the label column of image files: the name of the folder an image is in
IN_COLOR = "in color: the task's encoders see gray"
_FILE = "file"  # stands for the image column that image files lack

_BYTES_PER_PIXEL = 8  # an uncompressed image of 16-bit RGBA; a larger file is not an image


@dataclass(frozen=True)
class Found:
    """A row as it was read: where, and what is in it."""

    source: str
    row: str
    key: str  # its name if the campaign names no key column
    values: Values | BadRow


@dataclass(frozen=True)
class Row:
    """A usable row; one of text and image is None."""

    source: str
    row: str
    key: str
    text: str | None
    image: bytes | None
    label: str | None  # as the task's kind writes it; None: not known
    ratings: list[int] | None
    content: bytes  # hash
    notes: tuple[str, ...] = ()  # what had to be decided to read it

    @property
    def size(self) -> int:
        """Bytes that it takes, about."""
        return len(self.image) if self.image is not None else len(self.text or "")


@dataclass(frozen=True)
class Rejected:
    """A row that cannot be used."""

    source: str
    row: str
    reason: BadRow

    def __str__(self) -> str:
        """Say where and why."""
        return f"{self.source}{self.row and f' row {self.row}'}: {self.reason}"


@dataclass(frozen=True)
class Rules:
    """What a domain's rows must be like. The columns are those of the campaign file."""

    domain_key: DomainKey
    split: Split
    text: str | None
    image: str | None
    key: str | None
    label: str | None
    ratings: str | None
    kind: TaskKind
    knows_answers: bool  # the annotation backend answers from known labels
    max_image_pixels: int
    max_text_chars: int
    are_images: bool  # the sources are image files, not tables
    sees_gray: bool = False  # none of the task's encoders reads colors

    @property
    def suffixes(self) -> tuple[str, ...]:
        """How the names of files end that are read."""
        return (*IMAGES, *ARCHIVES) if self.are_images else TABLES

    @property
    def max_image_bytes(self) -> int:
        """The size of an image file above which it is not read."""
        return self.max_image_pixels * _BYTES_PER_PIXEL

    @property
    def has_labels_beside(self) -> bool:
        """Whether the label of an image is in a file beside it, in an archive."""
        return self.are_images and self.label not in (None, FOLDER)

    @property
    def needs_answers(self) -> bool:
        """Whether somebody reads the known labels, so that wrong ones are bad rows."""
        return self.split == "test" or self.knows_answers

    @property
    def required(self) -> tuple[str, ...]:
        """The columns that a table must have."""
        names = [self.text, self.image, self.key]
        if self.needs_answers:
            names += [self.label, self.ratings]
        return tuple(name for name in names if name is not None)

    @property
    def optional(self) -> tuple[str, ...]:
        """The columns that are read where a table has them."""
        return tuple(name for name in (self.label, self.ratings) if name is not None)


def rules_of(config: CampaignConfig, domain_key: DomainKey, split: Split) -> Rules:
    """Read the rules of a domain out of the campaign's configuration.

    Raises:
        ConfigError: image files are asked for what only tables have, or a test split has no labels.
    """
    task, domain = config.tasks[domain_key.task], config.domains()[domain_key]
    is_text = task.payload == "text"
    are_images = not is_text and domain.image is None
    is_label_known = domain.label in (None, FOLDER) or _are_archives(domain)
    if are_images and (domain.key or domain.ratings or not is_label_known):
        raise ConfigError(
            f"{domain_key}: image files have no columns key, ratings or label; name the image "
            f"column of a table, or take the name of an image's folder with label: {FOLDER}"
        )
    if split == "test" and domain.label is None:
        raise ConfigError(
            f"{domain_key}: a test split needs label: the column with the known labels"
        )
    return Rules(
        domain_key=domain_key,
        split=split,
        text=domain.text if is_text else None,
        image=None if is_text else (domain.image or _FILE),
        key=domain.key,
        label=domain.label,
        ratings=domain.ratings,
        kind=task.task_kind(),
        knows_answers=config.annotation.traits.knows_answers,
        max_image_pixels=config.ingest.max_image_pixels,
        max_text_chars=config.ingest.max_text_chars,
        are_images=are_images,
        sees_gray=all(each.kind in WITHOUT_WEIGHTS for each in task.named_encoders.values()),
    )


def _are_archives(domain: DomainConfig) -> bool:
    sources = [domain.source] if isinstance(domain.source, str) else domain.source
    return all(source.lower().endswith(ARCHIVES) for source in sources)


def check(rules: Rules, found: Found) -> Row | Rejected:
    """Check a row and read the image that it names.

    Raises:
        DataError: the image's file system cannot be reached.
    """
    try:
        return _checked(rules, found)
    except BadRow as problem:
        return Rejected(found.source, found.row, problem)


def _checked(rules: Rules, found: Found) -> Row:
    if isinstance(found.values, BadRow):
        raise found.values
    values = found.values
    text = None if rules.text is None else _text(rules, values)
    image, notes = (None, ()) if rules.image is None else _image(rules, found.source, values)
    content = text.encode() if text is not None else image
    assert content is not None
    return Row(
        source=found.source,
        row=found.row,
        key=found.key if rules.key is None else _key(values.get(rules.key)),
        text=text,
        image=image,
        label=None if rules.label is None else _label(rules, values.get(rules.label)),
        ratings=None if rules.ratings is None else _ratings(rules, values.get(rules.ratings)),
        content=content_hash(content),
        notes=notes,
    )


def _text(rules: Rules, values: Values) -> str:
    text = values.get(str(rules.text))
    if text is None:
        raise BadRow("missing text", f"no {rules.text!r} among {', '.join(map(str, values))}")
    if not isinstance(text, str):
        raise BadRow("wrong type", f"text is {type(text).__name__}")
    if not text.strip():
        raise BadRow("blank text")
    if len(text) > rules.max_text_chars:
        raise BadRow("text too long", f"{len(text)} characters")
    return _clean(text, "text")


def _clean(text: str, what: str) -> str:
    if "\0" in text:
        raise BadRow("NUL character", f"in the {what}")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise BadRow("not UTF-8", f"{what} at character {error.start}") from error
    return text


def _key(value: object) -> str:
    if value is None or value == "":
        raise BadRow("missing key")
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise BadRow("wrong type", f"key is {type(value).__name__}")
    return _clean(str(value), "key")


def _label(rules: Rules, value: object) -> str | None:
    """Return a known label; nobody reads a pool's labels unless the backend knows answers."""
    if value is None or value == "" or value != value:
        if rules.split == "test":
            raise BadRow("missing label")
        return None
    try:
        return rules.kind.parse(value)
    except DataError as error:
        if rules.needs_answers:
            raise BadRow("unknown label", str(error)) from error
        return None


def _ratings(rules: Rules, value: object) -> list[int] | None:
    if value is None:
        return None
    if isinstance(value, list) and all(_is_int8(rating) for rating in value):
        return value
    if rules.needs_answers:
        raise BadRow("wrong type", f"ratings are not a list of small whole numbers: {value!r}")
    return None


def _is_int8(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and -128 <= value < 128


def _image(rules: Rules, table: str, values: Values) -> tuple[bytes, tuple[str, ...]]:
    """Return an image file and notes on how it is read."""
    value = values.get(str(rules.image))
    if isinstance(value, Mapping):  # {bytes, path}, as Hugging Face datasets store images
        value = value.get("bytes") or value.get("path")
    if not value:
        raise BadRow("missing image")
    notes: tuple[str, ...] = ()
    if isinstance(value, str):
        value, notes = find_image(table, value, rules.max_image_bytes)
    if not isinstance(value, bytes):
        raise BadRow("wrong type", f"image is {type(value).__name__}")
    decoded = check_image(value, rules.max_image_pixels)
    colors = (IN_COLOR,) if rules.sees_gray and has_colors(decoded.image) else ()
    return value, (*notes, *decoded.notes, *colors)


def values_of_image(image: str | bytes, key: str, root: str, rules: Rules) -> dict[str, Any]:
    """Return the row that an image file stands for: the file, and the folder that is its class.

    That is the outermost folder below `root`, which all sources share, whose name is a label. For
    an image right in `root` it is `root` if its name is a label.
    """
    folders = key.split("/")[:-1]
    candidates = folders or root.rstrip("/").split("/")[-1:]
    label = next((each for each in candidates if _is_label(rules, each)), None)
    return {_FILE: image, FOLDER: label or (folders[0] if folders else None)}


def _is_label(rules: Rules, folder: str) -> bool:
    try:
        rules.kind.parse(folder)
    except DataError:
        return False
    return True
