"""What a campaign does about quality that differs between groups of samples."""

from collections.abc import Iterator, Mapping

from pydantic import Field

from umc_ray.config.section import Section
from umc_ray.config.specialist import WITH_CLASSES
from umc_ray.config.task import TaskConfig


class FairnessConfig(Section):
    """What is measured and done for the groups that domains name."""

    models_see_groups: bool = Field(
        False,
        description="allow that columns of groups are part of the samples too; by default this is "
        "an error",
    )
    smallest_group: int = Field(
        30,
        gt=0,
        description="samples that a group, or an intersection of groups, must have to be measured "
        "by itself or to get a floor; smaller ones count together as other",
    )
    reweighing: float = Field(
        0.0,
        ge=0,
        le=1,
        description="how far training weighs samples as if classes were as frequent in each "
        "group; 0: not, 1: entirely (classification)",
    )
    group_floor: float = Field(
        0.0,
        ge=0,
        le=1,
        description="least share of a round's selected labels of a domain for each of its groups, "
        "or equal shares if that is more than all; audits stay random",
    )

    thresholds: bool = Field(
        False,
        description="predict samples of a known group, in scores and from the endpoint, by a "
        "threshold of that group: odds that differ less, for some accuracy (classification, two "
        "labels)",
    )

    @property
    def thresholds_from(self) -> int | None:
        """The samples that a group must have to get a threshold of its own; None: none does."""
        return self.smallest_group if self.thresholds else None

    def problems(self, tasks: Mapping[str, TaskConfig]) -> Iterator[str]:
        """Say what the tasks lack for what is asked."""
        asked = [
            name for name in ("reweighing", "group_floor", "thresholds") if getattr(self, name)
        ]
        grouped = {
            name: task
            for name, task in tasks.items()
            if any(domain.groups for domain in task.domains.values())
        }
        if asked and not grouped:
            yield (
                f"fairness.{asked[0]} needs groups: name columns of a domain, such as groups: [sex]"
            )
        for name, task in grouped.items():
            yield from self._seen(task)
            if self.thresholds and (task.kind != "classification" or len(task.labels or ()) != 2):
                yield (
                    f"fairness.thresholds needs two classes, but {name} is a task of kind "
                    f"{task.kind} with {len(task.labels or ())} labels"
                )
            if self.reweighing and task.kind not in WITH_CLASSES:
                yield (
                    f"fairness.reweighing needs classes, but {name} is a task of kind {task.kind}; "
                    f"only {' and '.join(WITH_CLASSES)} has them"
                )

    def _seen(self, task: TaskConfig) -> Iterator[str]:
        """Name the columns of groups that are part of the samples, unless that is allowed."""
        for name, domain in task.domains.items():
            for column in () if self.models_see_groups else domain.groups:
                if column in (*domain.sample, domain.embedding):
                    yield (
                        f"groups of domain {name} names {column!r}, which is part of the sample, "
                        "so models see it: remove it from there, or allow it with "
                        "fairness.models_see_groups: true"
                    )
