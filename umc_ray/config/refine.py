"""The section `refine`: the second loop, which looks for what the labeled samples lack."""

import re
from typing import Annotated, Literal

from pydantic import Field, field_validator

from umc_ray.config.generator import GeneratorConfig
from umc_ray.config.section import Name, Section

FUNCTION = r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*"


class RefineConfig(Section):
    """What is done about gaps: patterns of the pool that the labeled samples lack."""

    share: Literal["auto"] | Annotated[float, Field(ge=0, le=1)] = Field(
        0.0,
        description="largest share of a round's labels that is spent on what the labels lack: "
        "patterns of the pool, rare classes, and the validation of synthetic samples; 0: it is "
        "only reported; auto: up to half, for what pays: each action is tried for at most two "
        "rounds, and is off unless it teaches more than other labels",
    )
    accept_rate: float = Field(
        0.9,
        gt=0,
        le=1,
        description="synthetic samples that nobody has validated are used where this share of "
        "their generator's samples for the same label is accepted for sure (95 %), by a random "
        "sample of them",
    )
    synthetic_weight: float = Field(
        0.5, gt=0, le=1, description="what a synthetic sample counts for in training; a real one: 1"
    )
    samples_per_round: int = Field(
        48,
        gt=0,
        description="samples that each generator makes for a domain before a round, at most",
    )
    unsafe: str | None = Field(
        None,
        description="package.module:function of yours that is given each synthetic sample, a text "
        "or the bytes of an image, before anybody sees it: it returns why the sample is refused, "
        "or None; it is imported on each node",
    )
    generators: dict[Name, GeneratorConfig] = Field(
        {}, description="what makes synthetic samples for gaps, by name; people validate them"
    )

    @field_validator("share", mode="before")
    @classmethod
    def _is_a_share(cls, share: object) -> object:
        if isinstance(share, str) and share != "auto":
            raise ValueError(f"a number from 0 to 1, or auto, in small letters; found {share!r}")
        return share

    @field_validator("unsafe")
    @classmethod
    def _is_named(cls, unsafe: str | None) -> str | None:
        if unsafe is not None and not re.fullmatch(FUNCTION, unsafe):
            raise ValueError(
                f"{unsafe!r} names no function: write package.module:function; paths are not read"
            )
        return unsafe
