"""A domain of a task: where its samples come from, and how their sources are read."""

from typing import Annotated, Self

from pydantic import BeforeValidator, Field, field_validator, model_validator

from umc_ray.config.formats import with_format
from umc_ray.config.section import Name, Section
from umc_ray.config.source import Source, Sources, as_source
from umc_ray.config.table_columns import beside_problem, columns_problem, pair_problem
from umc_ray.config.table_text import delimiter_problem, encoding_problem
from umc_ray.records import Split


def _with_text_keys(names: object) -> object:
    return {str(key): name for key, name in names.items()} if isinstance(names, dict) else names


NameById = Annotated[dict[str, str], BeforeValidator(_with_text_keys)]


class DomainConfig(Section):
    """A source of samples."""

    source: Sources = Field(
        description="files, globs or folders: parquet, arrow, jsonl, csv, images; local or s3://; "
        "or {format: glue, path: MNLI}: a dataset as it was published"
    )
    text: str | Annotated[list[str], Field(min_length=2, max_length=2)] | None = Field(
        None,
        description="column with the text; two columns make a pair, such as [question, sentence]",
    )
    columns: list[str] = Field(
        [],
        description="columns of a table that make a sample, in place of text, such as "
        "[age, workclass]; the sample is a text with a line for each",
    )
    image: str | None = Field(
        None,
        description="column with images as bytes, Base64 or file paths; not needed for an image "
        "folder",
    )
    embedding: str | None = Field(
        None, description="column with lists of numbers, for an encoder of kind given"
    )
    key: str | None = Field(
        None, description="column that identifies a row for good; default: the row number"
    )
    label: str | None = Field(
        None,
        description="column with known labels, for replay and tests; for image folders: folder",
    )
    ratings: str | None = Field(
        None,
        description="column with lists of recorded ratings, a number for each person, for replay",
    )
    label_names: list[str] | NameById | None = Field(
        None,
        description="names of the class ids in the label column: a list from id 0, or id: name "
        "for each; default: the names that a Hugging Face table has in its schema, or no ids",
    )
    keep: list[str] = Field(
        [],
        description="columns that pass through to the release, such as [url, author]",
    )
    groups: list[str] = Field(
        [],
        description="columns that say to which groups a sample belongs, such as [sex, race]: "
        "quality is measured for each group and intersection of them; models do not see them",
    )
    encoding: str | None = Field(
        None,
        description="of CSV and JSON lines, such as cp1252 or latin-1; default: UTF-8, or UTF-16 "
        "with a byte order mark",
    )
    delimiter: str | None = Field(
        None,
        min_length=1,
        max_length=1,
        description="between the fields of CSV, such as ';' or '|'; default: a comma, in .tsv a "
        "tab",
    )
    test: Sources | None = Field(
        None,
        description="held-out labeled samples in the same format, such as {split: validation}; "
        "never selected",
    )
    target: Sources | None = Field(
        None,
        description="unlabeled samples in the same format that stand for where the model will be "
        "used: gaps and coverage are measured on them in place of the pool; never selected",
    )
    shifted: dict[Name, Sources] = Field(
        {},
        description="labeled samples in the same format from other conditions, by name, such as "
        "{night: night/*.csv}; the models of the last round are measured on them beside `test`",
    )
    cost_per_label: float = Field(1.0, gt=0, description="what one label costs, in any unit")

    @model_validator(mode="before")
    @classmethod
    def _has_the_columns_of_its_format(cls, values: object) -> object:
        return with_format(values) if isinstance(values, dict) else values

    @model_validator(mode="after")
    def _can_be_read(self) -> Self:
        if self.encoding is not None and (problem := encoding_problem(self.encoding)):
            raise ValueError(problem)
        if self.delimiter is not None and (problem := delimiter_problem(self.delimiter)):
            raise ValueError(problem)
        if self.columns and self.text is not None:
            raise ValueError("a domain has text or columns, found both; remove one of them")
        answers = (self.label, self.ratings)
        if problem := (
            columns_problem(self.columns, answers)
            or pair_problem(self.pair, answers)
            or beside_problem(self.keep, self.groups, answers)
        ):
            raise ValueError(problem)
        if self.label_names and self.label is None:
            raise ValueError("label_names needs label: the column with the class ids")
        return self

    @field_validator("shifted", mode="before")
    @classmethod
    def _shifts_have_names(cls, shifted: object) -> object:
        if isinstance(shifted, str | list):
            raise ValueError(f"name each source, such as {{night: night/*.csv}}; found {shifted!r}")
        return shifted

    @model_validator(mode="after")
    def _has_a_source(self) -> Self:
        source = as_source(self.source)
        if not source.paths:
            raise ValueError("source needs path: a file or folder")
        if source.lacks_task and not (self.has_text or self.image):
            raise ValueError(f"source of format {source.format} needs task, such as {source.tasks}")
        return self

    @model_validator(mode="after")
    def _shifts_can_be_measured(self) -> Self:
        if self.shifted and self.test is None:
            raise ValueError("shifted needs test: clean samples to compare with")
        if self.shifted and self.embedding is not None:
            raise ValueError("shifted needs samples that are encoded: this domain has embedding")
        return self

    @property
    def beside(self) -> tuple[str, ...]:
        """The columns that are stored beside samples: those to keep, and groups."""
        return tuple(dict.fromkeys([*self.keep, *self.groups]))

    @property
    def texts(self) -> tuple[str, ...]:
        """The columns with texts: none, one, or the two of a pair."""
        if self.text is None:
            return ()
        return (self.text,) if isinstance(self.text, str) else tuple(self.text)

    @property
    def pair(self) -> tuple[str, ...]:
        """The two columns that make a pair of texts, if samples are pairs."""
        return self.texts if len(self.texts) > 1 else ()

    @property
    def has_text(self) -> bool:
        """Whether its samples are texts: of a column, or made of several."""
        return self.text is not None or bool(self.columns)

    @property
    def sample(self) -> tuple[str | None, ...]:
        """The columns that make a sample."""
        return (*self.texts, self.image, *self.columns)

    def sources(self, split: Split) -> list[str]:
        """Return the paths of the pool or of another split; none if there is no such split."""
        return self.published(split).paths

    def published(self, split: Split) -> Source:
        """Return what is said of the source of a split; it has no paths if there is none."""
        named = {"pool": self.source, "test": self.test, "target": self.target}.get(split)
        if not named:
            return Source()
        source = as_source(self.source)
        return source if split == "pool" else as_source(named).completed_by(source)

    @property
    def splits(self) -> tuple[Split, ...]:
        """What is read of it: the pool, then what else there is."""
        splits: tuple[Split, ...] = ("pool", "test", "target")
        return tuple(split for split in splits if self.sources(split))

    @property
    def without_answers(self) -> Self:
        """The same samples without what is known of them but their groups."""
        answers: dict[str, object] = dict.fromkeys(("label", "label_names", "ratings"))
        return self.model_copy(update={**answers, "keep": []})

    @property
    def names_by_id(self) -> dict[str, str]:
        """The names of the class ids in the label column; empty if it has the labels."""
        if isinstance(self.label_names, list):
            return {str(number): name for number, name in enumerate(self.label_names)}
        return self.label_names or {}
