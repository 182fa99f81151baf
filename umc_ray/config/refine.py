"""The section `refine`: the second loop, which looks for what the labeled samples lack."""

from pydantic import Field

from umc_ray.config.generator import GeneratorConfig
from umc_ray.config.section import Name, Section


class RefineConfig(Section):
    """What is done about gaps: patterns of the pool that the labeled samples lack."""

    share: float = Field(
        0.0,
        ge=0,
        le=1,
        description="largest share of a round's labels that is spent on filling gaps; 0: gaps are "
        "reported only",
    )
    generators: dict[Name, GeneratorConfig] = Field(
        {}, description="what makes synthetic samples for gaps, by name; people validate them"
    )
