"""Where samples come from: paths, or a dataset in a published format."""

from typing import Annotated, Self

from pydantic import Discriminator, Field, Tag, model_validator

from umc_ray.config.formats import FORMATS, task_of
from umc_ray.config.section import Section, Written

Paths = Annotated[str | Annotated[list[str], Field(min_length=1)], Written]


class Source(Section):
    """A dataset in a published format, in place of plain paths."""

    path: Annotated[str | Annotated[list[str], Field(min_length=1)] | None, Written] = Field(
        None, description="file or folder, or several; default: that of the domain's source"
    )
    format: str | None = Field(
        None,
        description=f"one of {', '.join(FORMATS)}; files: as they are; default: what the files "
        "show",
    )
    split: str | None = Field(
        None,
        description="published split, such as train or validation; default: train for source, "
        "validation or else test for test",
    )
    task: str | None = Field(None, description="of a format with several, such as sst2 of glue")

    @model_validator(mode="after")
    def _is_known(self) -> Self:
        if self.format is None:
            return self
        if self.format not in FORMATS:
            raise ValueError(f"no format {self.format!r}; known formats: {', '.join(FORMATS)}")
        tasks = FORMATS[self.format].tasks
        if self.task is not None and self.task not in tasks:
            known = f"its tasks are {', '.join(tasks)}" if tasks else "it has no tasks"
            raise ValueError(f"format {self.format} has no task {self.task!r}; {known}")
        return self

    @property
    def paths(self) -> list[str]:
        """The paths; none if those of the domain's source are meant."""
        return [self.path] if isinstance(self.path, str) else self.path or []

    @property
    def tasks(self) -> str:
        """The tasks of its format."""
        return ", ".join(FORMATS[self.format].tasks) if self.format else ""

    @property
    def lacks_task(self) -> bool:
        """Whether its format has tasks, and nothing says which is meant."""
        return bool(self.tasks) and task_of(str(self.format), self.task, self.paths) is None

    def completed_by(self, other: "Source") -> "Source":
        """Return the source with what another says where this one says nothing, but its split."""
        named = {name: getattr(self, name) or getattr(other, name) for name in _SHARED}
        return self.model_copy(update=named)


_SHARED = ("path", "format", "task")


def _form(value: object) -> str:
    """Return which form of a source a value has, so that only mistakes of that one are told."""
    return "published" if isinstance(value, Source | dict) else "paths"


Sources = Annotated[
    Annotated[Source, Tag("published")] | Annotated[Paths, Tag("paths")], Discriminator(_form)
]
"""Paths, globs or folders, or a dataset in a published format."""


def as_source(named: Source | str | list[str]) -> Source:
    """Return paths as a source."""
    return named if isinstance(named, Source) else Source(path=named)
