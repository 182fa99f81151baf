"""How the page shows a label, beside its name."""

from typing import Self

from pydantic import Field, model_validator

from umc_ray.config.section import Section

TAKEN = "cfgnsuxz"
"""Letters that are commands of the page."""


class LabelHint(Section):
    """What helps people to choose a label."""

    key: str | None = Field(
        None,
        description=f"the letter that chooses it, none of {TAKEN}",
    )
    help: str | None = Field(None, max_length=500, description="what it means, in a sentence")
    group: str | None = Field(
        None, max_length=100, description="heading under which it stands, with others of the group"
    )

    @model_validator(mode="after")
    def _has_a_free_key(self) -> Self:
        if self.key is not None and not ("a" <= self.key <= "z" and len(self.key) == 1):
            raise ValueError(f"the key of a label is one letter from a to z, not {self.key!r}")
        if self.key is not None and self.key in TAKEN:
            raise ValueError(f"the key {self.key} is a command of the page; taken: {TAKEN}")
        return self
