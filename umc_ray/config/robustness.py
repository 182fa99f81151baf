"""How much is tried on the models of the last round."""

from pydantic import Field

from umc_ray.config.section import Section


class RobustnessConfig(Section):
    """Quality where samples differ from those that models learned from, after the last round."""

    corruptions: bool = Field(
        False,
        description="also measure it on test samples that are corrupted: texts with typos, other "
        "case, cut off or without some words; images with noise, blur, other contrast or "
        "brightness, as JPEG or resized; 8 to 12 times the encoding of the samples",
    )
    samples: int = Field(
        500, gt=0, description="test samples of a domain, and of each of its shifts, at most"
    )
