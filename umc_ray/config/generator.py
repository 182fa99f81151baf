"""A generator of synthetic samples."""

from typing import Literal

from pydantic import Field

from umc_ray.config.section import Location, Section


class GeneratorConfig(Section):
    """Makes synthetic samples where the pool has too few."""

    kind: Literal["files"] = Field(
        description="files: samples that were made elsewhere, with a label each"
    )
    path: Location | None = Field(None, description="of the files, or of the model's folder")
