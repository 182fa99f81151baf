"""What every section of a campaign file has in common."""

from typing import Annotated

import pydantic
from pydantic import Field

NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"
"""What can be the name of a folder."""

Name = Annotated[str, Field(pattern=NAME)]


class Section(pydantic.BaseModel):
    """A part of the campaign file: unknown keys are refused, values do not change."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)
