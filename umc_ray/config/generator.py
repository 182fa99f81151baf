"""A generator of synthetic samples, and the filters that its samples have to pass."""

import re
from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from umc_ray.config.section import Location, Section, check_options

TransformName = Literal[
    "turn",
    "flip",
    "shift",
    "scale",
    "brightness",
    "contrast",
    "blur",
    "noise",
    "invert",
]

GENERATIVE: tuple[str, ...] = ("language_model", "diffusion")

OPTIONS = {
    "path": ("files", *GENERATIVE),
    "domain": ("files",),
    "label": ("files",),
    "answer": ("files",),
    "transforms": ("transforms",),
    "url": ("language_model",),
    "model": ("language_model",),
    "key_variable": ("language_model",),
    "instruction": ("language_model",),
    "paraphrase": ("language_model",),
    "temperature": ("language_model",),
    "max_tokens": ("language_model",),
    "timeout_s": ("language_model",),
    "image_px": ("diffusion",),
    "training_steps": ("diffusion",),
    "denoising_steps": ("diffusion",),
    "strength": ("diffusion",),
    "num_gpus": GENERATIVE,
}
"""The kinds of generators that know an option, of those that not all know."""

SPEED = {"filters", "key_variable", "timeout_s", "num_gpus", "path"}
"""Options that do not change the samples; a path stands for the files there."""

MAKES_COPIES = ("transforms",)
"""Kinds whose samples are real ones, changed: only repeats and blocked words are refused."""


class FiltersConfig(Section):
    """What refuses a synthetic sample before anybody sees it."""

    copies: bool = Field(
        True,
        description="refuse what is a copy of a real sample",
    )
    outliers: bool = Field(
        True, description="refuse what is farther from all real samples than they are from another"
    )
    similarity: float | None = Field(
        0.99,
        gt=0,
        le=1,
        description="cosine from which a sample repeats an earlier synthetic one; empty: off",
    )
    min_agreement: float = Field(
        0.02,
        ge=0,
        lt=1,
        description="least probability that the ensemble gives the label that a sample was made "
        "for; low, since an ensemble knows little about what is missing",
    )
    blocked: tuple[str, ...] = Field(
        (),
        description="regular expressions, regardless of case; texts that match one are refused",
    )

    @field_validator("blocked")
    @classmethod
    def _are_expressions(cls, patterns: tuple[str, ...]) -> tuple[str, ...]:
        for pattern in patterns:
            try:
                re.compile(pattern)
            except re.error as error:
                raise ValueError(f"{pattern!r} is no regular expression: {error}") from error
        return patterns


class GeneratorConfig(Section):
    """Makes synthetic samples where the pool has too few."""

    kind: Literal["files", "transforms", "language_model", "diffusion"] = Field(
        description="files: samples that were made elsewhere, with a label each; transforms: "
        "images of the label, turned, blurred or otherwise changed as the gap's samples are; "
        "language_model: texts by a local model or an endpoint; diffusion: images by a model that "
        "learns from the labeled ones, or by a pretrained pipeline"
    )
    path: Location | None = Field(
        None,
        description="of the files, or of the model's folder (files, language_model, diffusion)",
    )
    domain: str | None = Field(
        None,
        description="task/domain that the files are for, read by its columns; needed where there "
        "are several (files)",
    )
    label: str | None = Field(
        None,
        description="column with the label that a sample was made for; image folders: folder; "
        "default: the domain's label, or label (files)",
    )
    answer: str | None = Field(
        None,
        description="column with what a person would answer, for replay; empty: rejected (files)",
    )
    transforms: tuple[TransformName, ...] = Field(
        ("turn", "flip", "shift", "scale", "brightness", "contrast", "blur", "noise", "invert"),
        min_length=1,
        description="those that keep the label of an image: a flip changes letters, a turn "
        "makes 6 of 9 (transforms)",
    )
    url: str | None = Field(
        None,
        pattern=r"^https?://\S+$",
        description="of an endpoint that speaks OpenAI's protocol, such as "
        "http://localhost:8000/v1, in place of a local model (language_model)",
    )
    model: str | None = Field(None, description="what the endpoint calls it (language_model)")
    key_variable: str = Field(
        "OPENAI_API_KEY",
        description="environment variable that holds the endpoint's key, if it needs one "
        "(language_model)",
    )
    instruction: str = Field(
        "",
        description="what the texts are, such as 'questions that people type into a search "
        "engine' (language_model)",
    )
    paraphrase: bool = Field(
        False,
        description="say an exemplar in other words in place of writing a new text after several "
        "(language_model)",
    )
    temperature: float = Field(
        0.9, gt=0, le=2, description="more is more varied and less right (language_model)"
    )
    max_tokens: int = Field(64, gt=0, description="longest text (language_model)")
    timeout_s: float = Field(60.0, gt=0, description="for one text of an endpoint (language_model)")
    image_px: int = Field(
        32, ge=8, le=1024, multiple_of=8, description="side of the square images (diffusion)"
    )
    training_steps: int = Field(
        2000,
        gt=0,
        description="batches of 64 labeled images from which it learns; none with a path "
        "(diffusion)",
    )
    denoising_steps: int = Field(50, gt=0, description="from noise to an image (diffusion)")
    strength: float = Field(
        0.5,
        gt=0,
        le=1,
        description="how far a pretrained pipeline may leave the exemplar; 1: all the way "
        "(diffusion)",
    )
    num_gpus: float = Field(
        0.0, ge=0, description="GPUs per process; 0 runs on the CPU (language_model, diffusion)"
    )
    filters: FiltersConfig = FiltersConfig()

    @model_validator(mode="after")
    def _has_what_its_kind_knows(self) -> Self:
        check_options(self, "generator", self.kind, OPTIONS)
        return self

    @model_validator(mode="after")
    def _is_possible(self) -> Self:
        if self.kind == "files" and self.path is None:
            raise ValueError("a generator of kind files needs path: the files or their folder")
        if self.kind == "language_model" and (self.path is None) == (self.url is None):
            raise ValueError("generator kind language_model needs path or url: one of the two")
        if (self.url is None) != (self.model is None):
            raise ValueError("url and model belong together: what does the endpoint call it?")
        return self
