"""A task of a campaign: its label space, its encoder, its specialists and its domains."""

from typing import Literal, Self

from pydantic import Field, model_validator

from umc_ray.config.section import Name, Section


class EncoderConfig(Section):
    """The frozen model that turns a sample into an embedding, once."""

    kind: Literal["static_text", "transformers", "gradients", "pixels"]
    path: str | None = Field(None, description="folder of the weights (static_text, transformers)")
    batch_size: int = Field(64, gt=0, description="samples per forward pass")
    workers: int | None = Field(
        None, gt=0, description="actors, each with a copy of the model; default: one per CPU or GPU"
    )
    max_workers: int | None = Field(
        None, gt=0, description="grow to so many actors as the cluster grows; default: workers stay"
    )
    num_gpus: float = Field(0.0, ge=0, description="GPUs per actor; 0 runs on the CPU")
    image_px: int = Field(32, ge=8, le=1024, description="images are resized to this square")
    max_tokens: int = Field(256, gt=0, description="longer texts are cut here")

    @model_validator(mode="after")
    def _is_possible(self) -> Self:
        if self.kind in ("static_text", "transformers") and self.path is None:
            raise ValueError(f"encoder kind {self.kind} needs path: the folder of its weights")
        if self.max_workers is not None and self.max_workers < (self.workers or 1):
            raise ValueError(f"max_workers {self.max_workers} < workers {self.workers}")
        return self


class DomainConfig(Section):
    """A source of samples."""

    source: str | list[str] = Field(
        description="files, globs or folders: parquet, jsonl, csv, images; local or s3://"
    )
    text: str | None = Field(None, description="column with the text")
    image: str | None = Field(
        None, description="column with image bytes or file paths; not needed for an image folder"
    )
    key: str | None = Field(
        None, description="column that names a row for good; default: the row number"
    )
    label: str | None = Field(
        None,
        description="column with known labels, read by replay and tests; for image folders: folder",
    )
    ratings: str | None = Field(None, description="column with lists of recorded ratings (replay)")
    test: str | list[str] | None = Field(
        None, description="held-out labeled samples of the same form; never selected"
    )
    cost_per_label: float = Field(1.0, gt=0, description="what one label costs, in any unit")


class SpecialistConfig(Section):
    """A model of the ensemble: a head over the embeddings."""

    domain: str | None = Field(None, description="its domain of expertise; none: a generalist")
    head: Literal["linear", "mlp"] = "linear"
    hidden: int = Field(64, gt=0, description="width of the hidden layer of an mlp")


class TaskConfig(Section):
    """A label space, the model that sees its samples, and where they come from."""

    kind: Literal["text_classification", "image_classification"]
    labels: list[str] = Field(description="the label set, at least two")
    encoder: EncoderConfig
    domains: dict[Name, DomainConfig] = Field(min_length=1)
    specialists: Literal["per_domain"] | dict[str, SpecialistConfig] = Field(
        "per_domain", description="per_domain: one for each domain and a generalist"
    )

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        if len(set(self.labels)) < 2 or len(set(self.labels)) != len(self.labels):
            raise ValueError(f"labels must be at least two different names, found {self.labels}")
        field = "text" if self.kind == "text_classification" else "image"
        for name, domain in self.domains.items():
            if field == "text" and domain.text is None:
                raise ValueError(f"domain {name} of a text task needs text: the column's name")
        for name, specialist in self.ensemble().items():
            if specialist.domain is not None and specialist.domain not in self.domains:
                raise ValueError(
                    f"specialist {name} names domain {specialist.domain}, "
                    f"the task has {', '.join(self.domains)}"
                )
        return self

    def ensemble(self) -> dict[str, SpecialistConfig]:
        """Return the specialists by name."""
        if self.specialists != "per_domain":
            return self.specialists
        own = {name: SpecialistConfig(domain=name) for name in self.domains}
        return {**own, "generalist": SpecialistConfig(domain=None)}
