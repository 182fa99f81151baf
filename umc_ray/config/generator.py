"""A generator of synthetic samples."""

from typing import Literal, Self

from pydantic import Field, model_validator

from umc_ray.config.section import Location, Section


class GeneratorConfig(Section):
    """Makes synthetic samples where the pool has too few."""

    kind: Literal["files"] = Field(
        description="files: samples that were made elsewhere, with a label each"
    )
    path: Location | None = Field(None, description="of the files, or of the model's folder")
    domain: str | None = Field(
        None,
        description="task/domain that the files are for, read by its columns; needed where there "
        "are several",
    )
    label: str | None = Field(
        None,
        description="column with the label that a sample of the files was made for; image folders: "
        "folder; default: the domain's label, or label",
    )
    answer: str | None = Field(
        None,
        description="column with what a person would answer, for replay; empty: rejected",
    )

    @model_validator(mode="after")
    def _has_what_it_reads(self) -> Self:
        if self.kind == "files" and self.path is None:
            raise ValueError("a generator of kind files needs path: the files or their folder")
        return self
