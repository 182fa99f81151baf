"""The section `stop`: when a campaign ends before its budget is spent."""

from typing import Literal

from pydantic import Field

from umc_ray.config.section import Section


class StopConfig(Section):
    """When a campaign ends before its budget is spent."""

    when: Literal["any", "all"] = Field(
        "any", description="stop when any of the rules below holds, or when all of them do"
    )
    labels: int | None = Field(None, gt=0, description="stop at this number of labels")
    cost: float | None = Field(
        None, gt=0, description="stop when all answers have cost this much, as cost_per_label says"
    )
    accuracy: float | None = Field(
        None,
        gt=0,
        le=1,
        description="stop at this macro utility, such as accuracy, on the audit samples",
    )
    plateau: int | None = Field(
        None, gt=0, description="stop after this many rounds without a better macro utility"
    )
    coverage: float | None = Field(
        None,
        gt=0,
        le=1,
        description="stop when the labeled samples of each domain surely (95 %) cover this share "
        "of its pool, or of its target set, in embeddings",
    )
    worst_recall: float | None = Field(
        None,
        gt=0,
        le=1,
        description="stop when each class surely has this recall on the test data",
    )
    equalized_odds: float | None = Field(
        None,
        gt=0,
        le=1,
        description="stop when groups surely differ by no more in equalized odds",
    )
