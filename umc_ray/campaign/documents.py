"""The documents that the stages of a round hand to each other, stored as JSON in rounds/<n>."""

from dataclasses import dataclass, field

from umc_ray.annotation.people import PersonWork
from umc_ray.annotation.times import AnswerTime
from umc_ray.diversity.gaps import AuditErrors
from umc_ray.diversity.measures import Diversity
from umc_ray.diversity.validation import HumanRating
from umc_ray.methods.bandit import ArmContext, Reward
from umc_ray.methods.certificates import Certificate
from umc_ray.methods.fairness import Difference
from umc_ray.methods.with_without import Gain
from umc_ray.selection.near_duplicates import Check
from umc_ray.selection.selection_test import SelectionVerdict
from umc_ray.specialists.combination import SpecialistReport
from umc_ray.specialists.ensemble import EnsembleRef
from umc_ray.tasks.group_quality import GroupComparison
from umc_ray.tasks.quality import Estimate, Quality


@dataclass(frozen=True)
class DomainBudget:
    """The labels of a domain in a round, the audits among them, and what the bandit knew."""

    labels: int
    audits: int
    context: ArmContext


@dataclass(frozen=True)
class Allocation:
    """allocation.json: the budget of each domain, by name."""

    domains: dict[str, DomainBudget]


@dataclass(frozen=True)
class Audit:
    """The mean utility of held-out predictions on n audit samples."""

    n: int
    utility: Estimate


@dataclass(frozen=True)
class Shown:
    """What an action has shown on something that is lacking, and in how many rounds."""

    lack: str
    action: str
    rounds: int
    gain: Gain | None


@dataclass(frozen=True)
class Training:
    """training.json: the ensembles by task, and what held-out predictions say of them.

    `audits`, `selection_tests`, `audit_groups`, `audit_errors` and `refill` are by domain; the
    others by task.
    """

    rows: int
    ensembles: dict[str, EnsembleRef]
    specialists: dict[str, dict[str, SpecialistReport]]
    audits: dict[str, Audit]
    selection_tests: dict[str, SelectionVerdict]
    certificates: dict[str, Certificate | None]
    audit_groups: dict[str, list[GroupComparison]] = field(default_factory=dict)
    audit_errors: dict[str, AuditErrors] = field(default_factory=dict)
    refill: dict[str, list[Shown]] = field(default_factory=dict)


@dataclass(frozen=True)
class RescoredPool:
    """How many samples of a task's pools fine-tuned specialists scored, and of how many."""

    samples: int
    pool: int


@dataclass(frozen=True)
class Rescored:
    """rescored.json: by task, what fine-tuned specialists scored after heads had scored all."""

    tasks: dict[str, RescoredPool]


@dataclass(frozen=True)
class DomainMetrics:
    """What a round found out about a domain."""

    labels: int
    cost: float
    uncertainty: float | None
    audit: Audit | None
    test: Quality | None
    selection_test: SelectionVerdict | None


@dataclass(frozen=True)
class RoundMetrics:
    """metrics.json: labels, cost and quality after a round, in all and by domain.

    `validated`: synthetic samples that people answered about; they cost as labels do.
    `domain_balance`: how evenly the labels of a task are spread over its domains. `ratings`: what
    people say of the quality of synthetic samples, by generator. `people`: what each of them did.
    """

    labels: int
    cost: float
    domains: dict[str, DomainMetrics]
    audit_utility: float | None
    test_utility: float | None
    near_duplicates: dict[str, Check] = field(default_factory=dict)
    times: dict[str, AnswerTime] = field(default_factory=dict)
    validated: int = 0
    diversity: dict[str, Diversity] = field(default_factory=dict)
    domain_balance: dict[str, Estimate] = field(default_factory=dict)
    ratings: list[HumanRating] = field(default_factory=list)
    people: dict[str, PersonWork] = field(default_factory=dict)

    @property
    def answered(self) -> int:
        """How many samples people have answered about that count as work: what methods cost."""
        return self.labels + self.validated


@dataclass(frozen=True)
class BanditUpdate:
    """bandit.json: what the bandit was told about a round."""

    rewards: list[Reward]


@dataclass(frozen=True)
class GroupShare:
    """How many samples of a group are in the pool, and how many of these are labeled."""

    name: str
    labeled: int
    pool: int


@dataclass(frozen=True)
class Representation:
    """How far the groups' shares of the labels differ from those of the pool."""

    by: str
    groups: list[GroupShare]
    gap: Difference | None


@dataclass(frozen=True)
class GroupDisagreement:
    """How often people disagree with the consensus about n audit samples of a group."""

    name: str
    n: int
    disagreement: Estimate


@dataclass(frozen=True)
class AnnotatorBias:
    """Whether people disagree more about some groups than about others."""

    by: str
    groups: list[GroupDisagreement]
    gap: Difference | None


@dataclass(frozen=True)
class ThresholdEffect:
    """What thresholds of groups do on test data: utility and equalized odds, without and with them.

    `shifts`: by group, what is added to the log-odds of the second class.
    """

    shifts: dict[str, float]
    utility_before: Estimate
    utility: Estimate
    odds_before: Difference | None
    odds: Difference | None


@dataclass(frozen=True)
class DomainFairness:
    """What a round found out about the groups of a domain; intersections come last in each list.

    Quality is measured on audit samples and on test data, never on selected samples.
    """

    audit: list[GroupComparison]
    test: list[GroupComparison]
    representation: list[Representation]
    annotators: list[AnnotatorBias]
    thresholds: ThresholdEffect | None = None  # None: there are none, or no test data

    @property
    def quality(self) -> GroupComparison | None:
        """The finest comparison, on test data if there are any; None: nothing is measured yet."""
        return next((each[-1] for each in (self.test, self.audit) if each), None)


@dataclass(frozen=True)
class Fairness:
    """fairness.json: what a round found out about groups, by domain."""

    domains: dict[str, DomainFairness]
