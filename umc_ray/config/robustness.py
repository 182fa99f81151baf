"""How much is tried on the models of the last round."""

from pydantic import Field, field_validator

from umc_ray.config.section import Section


class RobustnessConfig(Section):
    """Quality where samples differ from those that models learned from, after the last round."""

    corruptions: bool = Field(
        False,
        description="also measure it on test samples that are corrupted: texts with typos, other "
        "case, in slang, cut off or without some words; images with noise, blur, other contrast or "
        "brightness, as JPEG or resized; 8 to 12 times the encoding of the samples",
    )
    samples: int = Field(
        500, gt=0, description="test samples of a domain, and of each of its shifts, at most"
    )

    @field_validator("corruptions", mode="before")
    @classmethod
    def _is_all_or_none(cls, corruptions: object) -> object:
        if isinstance(corruptions, list | dict):
            raise ValueError(f"true or false: all are tried, or none; found {corruptions!r}")
        return corruptions
