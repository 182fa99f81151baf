"""What a release says of itself, and into which splits it divides its samples."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from umc_ray.config.section import Section

HELD_OUT = "held_out"
SLACK = 1e-6  # of a sum of shares

SplitName = Annotated[str, Field(pattern=r"^\w+(\.\w+)*$")]
"""As Hugging Face datasets allow it."""


class ReleaseConfig(Section):
    """What a release says of itself, in its card and in croissant.json."""

    license: str = Field(
        "unknown", description="license of the samples, as the Hugging Face hub names it: cc-by-4.0"
    )
    description: str | None = Field(None, description="what the dataset is about, for its readers")
    citation: str | None = Field(None, description="how to cite it, such as a BibTeX entry")
    synthetic: bool = Field(
        True,
        description="whether releases have the synthetic samples that stand, in files of their "
        "own; without them: umc release --no-synthetic",
    )
    splits: dict[SplitName, float | Literal["held_out"]] = Field(
        {},
        description="shares of the labeled samples by split, such as {train: 0.9, test: 0.1}; "
        "held_out in place of a share: the test data of the domains; default: all are in train",
    )

    @property
    def shares(self) -> dict[str, float]:
        """The shares of the labeled samples by split."""
        shares = {name: each for name, each in self.splits.items() if isinstance(each, float)}
        return shares or {"train": 1.0}

    @property
    def held_out(self) -> str | None:
        """The split that holds the test data of the domains."""
        return next((name for name, each in self.splits.items() if each == HELD_OUT), None)

    @model_validator(mode="after")
    def _splits_add_up(self) -> Self:
        total = sum(self.shares.values())
        if min(self.shares.values()) <= 0 or abs(total - 1) > SLACK:
            raise ValueError(f"shares of splits must be above 0 and add up to 1, not to {total:g}")
        if self.held_out in self.shares:
            raise ValueError(f"{self.held_out} is {HELD_OUT}, so no split has the labeled samples")
        if sum(each == HELD_OUT for each in self.splits.values()) > 1:
            raise ValueError(f"splits has {HELD_OUT} twice; one split can hold the test data")
        return self
