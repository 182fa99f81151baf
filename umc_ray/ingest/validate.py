"""What makes a row of a source usable, and what is wrong with it where it is not."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from umc_ray.config.campaign import CampaignConfig
from umc_ray.config.domain import DomainConfig
from umc_ray.config.encoder import GRAY
from umc_ray.errors import ConfigError
from umc_ray.ingest.answers import AnswerRules, is_missing
from umc_ray.ingest.columns import TableFormat, Values
from umc_ray.ingest.embedded_images import embedded_image
from umc_ray.ingest.embeddings import Embedding, given_embedding
from umc_ray.ingest.image_check import check_image
from umc_ray.ingest.layouts.layout import PLAIN, Asked, Layout
from umc_ray.ingest.pixels import has_colors
from umc_ray.ingest.sources import ARCHIVES, IMAGES, TABLES, BadRow, find_image
from umc_ray.ingest.table_rows import row_text
from umc_ray.ingest.text_check import checked, clean, same_text, undecoded
from umc_ray.ingest.text_files import lost_byte
from umc_ray.methods.identity import content_hash
from umc_ray.methods.text_pair import joined
from umc_ray.methods.unicode_text import escaped
from umc_ray.records import DomainKey, Split
from umc_ray.tasks.task import TaskKind

FOLDER = "folder"  # the label column of image files: the name of the folder an image is in
IN_COLOR = "in color: the task's encoders see gray"
IMAGE_FILE = "file"  # stands for the image column that image files lack

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
    kept: tuple[object, ...] = ()
    notes: tuple[str, ...] = ()  # what had to be decided to read it
    embedding: Embedding | None = None  # that came with it

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
        return bad_row_line(self.source, self.row, str(self.reason))


def bad_row_line(source: str, row: str, reason: str) -> str:
    """Say of a row that cannot be used where it is, and why."""
    return f"{source}{row and f' row {row}'}: {reason}"


@dataclass(frozen=True)
class Rules:
    """What a domain's rows must be like. The columns are those of the campaign file."""

    domain_key: DomainKey
    split: Split
    text: str | tuple[str, ...] | None  # several columns: of a pair of texts
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
    encoding: str | None = None
    delimiter: str | None = None
    label_names: Mapping[str, str] = field(default_factory=dict)
    has_test: bool = False  # its column of labels may be in the test split only
    keep: tuple[str, ...] = ()  # columns that are stored beside the samples
    groups: tuple[str, ...] = ()  # those of them that must be there
    embedding: str | None = None
    dimension: int = 0  # of the embeddings
    columns: tuple[str, ...] = ()  # that make a text, in place of one
    asked: Asked = PLAIN  # what the campaign says of the format of the sources
    layouts: tuple[Layout, ...] = ()  # of the sources that have one

    def layout_of(self, uri: str) -> Layout | None:
        """Return the layout that a file belongs to."""
        return next((each for each in self.layouts if each.has(uri)), None)

    @property
    def texts(self) -> tuple[str, ...]:
        """The columns with texts: none, one, or those of a pair."""
        if self.text is None:
            return ()
        return (self.text,) if isinstance(self.text, str) else self.text

    @property
    def suffixes(self) -> tuple[str, ...]:
        """How the names of files end that are read."""
        return (*IMAGES, *ARCHIVES) if self.are_images else TABLES

    @property
    def max_image_bytes(self) -> int:
        """The size of an image file above which it is not read."""
        return self.max_image_pixels * _BYTES_PER_PIXEL

    @property
    def reads_beside(self) -> bool:
        """Whether what an image has beside it in an archive is read: a label, columns to keep."""
        return self.are_images and (self.label not in (None, FOLDER) or bool(self.keep))

    @property
    def needs_answers(self) -> bool:
        """Whether somebody reads the known labels, so that wrong ones are bad rows."""
        return self.split != "pool" or self.knows_answers

    @property
    def table(self) -> TableFormat:
        """How tables are read, and which of their columns."""
        columns = [*self.texts, *self.columns, self.image, self.key, self.embedding]
        columns += self.groups if self.split == "test" else self.keep
        if self.needs_answers:
            columns += [self.label, self.ratings]
        elif not self.has_test:
            columns.append(self.label)
        return TableFormat(
            columns=tuple(name for name in columns if name is not None),
            optional=tuple(
                name
                for name in (self.label, self.ratings, *self.keep)
                if name is not None and name not in self.groups
            ),
            class_column=None if self.label_names else self.label,
            encoding=self.encoding,
            delimiter=self.delimiter,
        )

    @cached_property
    def answers(self) -> AnswerRules:
        """How known answers are read."""
        return AnswerRules(self.kind, self.label_names, self.needs_answers, self.split != "pool")


def rules_of(config: CampaignConfig, domain_key: DomainKey, split: Split) -> Rules:
    """Read the rules of a domain out of the campaign's configuration.

    Raises:
        ConfigError: image files are asked for what only tables have, or a test split has no labels.
    """
    task, domain = config.tasks[domain_key.task], config.domains()[domain_key]
    source = domain.published(split)
    if split == "target":
        domain = domain.without_answers
    is_text = task.payload == "text"
    are_images = not is_text and domain.image is None
    is_beside = domain.label not in (None, FOLDER) or bool(domain.beside)
    is_plain = source.format is None and not _are_archives(domain)
    lacks_beside = domain.embedding or (is_beside and is_plain)
    if are_images and (domain.key or domain.ratings or lacks_beside):
        raise ConfigError(
            f"{domain_key}: image files have no columns key, ratings, embedding, groups, "
            "label or keep; name the image column of a table, or take the name of an image's "
            f"folder with label: {FOLDER}"
        )
    if split == "test" and domain.label is None:
        raise ConfigError(
            f"{domain_key}: a test split needs label: the column with the known labels"
        )
    return Rules(
        domain_key=domain_key,
        split=split,
        text=(domain.pair or next(iter(domain.texts), None)) if is_text else None,
        image=None if is_text else (domain.image or IMAGE_FILE),
        key=domain.key,
        label=domain.label,
        ratings=domain.ratings,
        kind=task.task_kind(),
        knows_answers=config.annotation.traits.knows_answers,
        max_image_pixels=config.ingest.max_image_pixels,
        max_text_chars=config.ingest.max_text_chars,
        are_images=are_images,
        sees_gray=all(each.kind in GRAY for each in task.named_encoders.values()),
        encoding=domain.encoding,
        delimiter=domain.delimiter,
        label_names=domain.names_by_id,
        has_test=domain.test is not None,
        keep=domain.beside,
        groups=tuple(domain.groups),
        embedding=domain.embedding,
        dimension=task.dimension or 0,
        columns=tuple(domain.columns) if is_text else (),
        asked=Asked(split, source.format, source.split, source.task),
    )


def _are_archives(domain: DomainConfig) -> bool:
    return all(source.lower().endswith(ARCHIVES) for source in domain.sources("pool"))


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
    text = _text(rules, values) if rules.image is None else None
    image, notes = (None, ()) if rules.image is None else _image(rules, found.source, values)
    content = same_text(text) if text is not None else image
    assert content is not None
    label, spelling = (None, ()) if rules.label is None else _label(rules, values, text)
    kept, lacking = _kept(rules, values)
    return Row(
        source=found.source,
        row=found.row,
        key=found.key if rules.key is None else _key(rules, values.get(rules.key)),
        text=text,
        image=image,
        label=label,
        ratings=None if rules.ratings is None else rules.answers.ratings(values.get(rules.ratings)),
        content=content_hash(content),
        kept=kept,
        notes=(*notes, *spelling, *lacking),
        embedding=None if rules.embedding is None else _embedding(rules, values),
    )


def _text(rules: Rules, values: Values) -> str:
    """Return the text of a row, or those of a pair, joined."""
    limits = (rules.max_text_chars, rules.encoding)
    if rules.columns:
        return checked(row_text(rules.columns, values), "text", *limits)
    is_pair = len(rules.texts) > 1
    parts = []
    for name in rules.texts:
        if values.get(name) is None:
            names = ", ".join(escaped(str(each)) for each in values)
            raise BadRow("missing text", f"no {name!r} among {names}")
        parts.append(checked(values[name], name if is_pair else "text", *limits))
    return joined(parts)


def _label(rules: Rules, values: Values, text: str | None) -> tuple[str | None, tuple[str, ...]]:
    value = values.get(str(rules.label))
    if rules.needs_answers and isinstance(value, str) and lost_byte(value):
        raise undecoded(value, "label", rules.encoding)
    return rules.answers.label(value, text)


def _kept(rules: Rules, values: Values) -> tuple[tuple[object, ...], tuple[str, ...]]:
    """Return the values of the columns to keep, and notes on those that the row does not have."""
    for name in rules.keep:
        if isinstance(value := values.get(name), str) and lost_byte(value):
            raise undecoded(value, f"column {name}", rules.encoding)
    lacking = [name for name in rules.keep if name not in values and rules.split == "pool"]
    notes = tuple(f"no {name!r}, which the domain keeps" for name in lacking)
    return tuple(values.get(name) for name in rules.keep), notes


def _embedding(rules: Rules, values: Values) -> Embedding:
    return given_embedding(values.get(str(rules.embedding)), rules.dimension)


def _key(rules: Rules, value: object) -> str:
    if is_missing(value):
        raise BadRow("missing key")
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise BadRow("wrong type", f"key is {type(value).__name__}")
    return clean(str(value), "key", rules.encoding)


def _image(rules: Rules, table: str, values: Values) -> tuple[bytes, tuple[str, ...]]:
    """Return an image file and notes on how it is read."""
    value = values.get(str(rules.image))
    if isinstance(value, Mapping):  # {bytes, path}, as Hugging Face datasets store images
        value = value.get("bytes") or value.get("path")
    if not value:
        raise BadRow("missing image")
    notes: tuple[str, ...] = ()
    if isinstance(value, str):
        value = embedded_image(value, rules.max_image_bytes) or value
    if isinstance(value, str):
        value, notes = find_image(table, value, rules.max_image_bytes)
    if not isinstance(value, bytes):
        raise BadRow("wrong type", f"image is {type(value).__name__}")
    decoded = check_image(value, rules.max_image_pixels)
    colors = (IN_COLOR,) if rules.sees_gray and has_colors(decoded.image) else ()
    return value, (*notes, *decoded.notes, *colors)
