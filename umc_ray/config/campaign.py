"""campaign.yaml: the sections of a campaign file, with their defaults.

The descriptions end up in the file that `umc init` writes and in docs/options.md.
"""

from typing import Literal, Self

from pydantic import Field, model_validator

from umc_ray.config.annotation import AnnotationConfig
from umc_ray.config.domain import DomainConfig
from umc_ray.config.fairness import FairnessConfig
from umc_ray.config.refine import RefineConfig
from umc_ray.config.release import HELD_OUT, ReleaseConfig
from umc_ray.config.robustness import RobustnessConfig
from umc_ray.config.section import Location, Name, Section
from umc_ray.config.stop import StopConfig
from umc_ray.config.task import TaskConfig
from umc_ray.errors import ConfigError
from umc_ray.records import DomainKey


class BudgetConfig(Section):
    """How many labels people can give."""

    labels: int = Field(gt=0, description="labels of the whole campaign")
    per_round: int = Field(gt=0, description="labels of one round")
    audit: float = Field(
        0.1,
        ge=0,
        le=1,
        description="share of a round's labels that is drawn at random, to measure quality "
        "without bias",
    )


class AllocationConfig(Section):
    """How a round's labels are split over the domains."""

    policy: Literal["gradient", "thompson", "ucb", "uniform", "proportional", "uncertainty"] = (
        Field(
            "ucb",
            description="how shares are found; ucb, thompson, gradient: by how often the models "
            "were wrong; uncertainty: by how unsure they are; proportional: by the unlabeled "
            "samples; uniform: all domains alike",
        )
    )
    objective: Literal["pooled", "macro", "worst"] = Field(
        "macro",
        description="what counts; pooled: all samples alike; macro: all domains alike; worst: the "
        "worst domain",
    )
    floor: float = Field(
        0.05, ge=0, lt=1, description="least share of a round's labels for each domain"
    )
    costs: Literal["configured", "measured"] = Field(
        "configured",
        description="what a label costs; configured: cost_per_label; measured: by the time that "
        "people take",
    )


class SelectionConfig(Section):
    """Which samples of a domain people are asked about."""

    acquisition: Literal["margin", "entropy", "score", "least_confidence", "mutual_information"] = (
        Field(
            "margin",
            description="how to measure what is informative; margin: the gap between the two "
            "most likely labels; entropy, least_confidence: of the ensemble's mean; score: "
            "confidence minus disagreement; mutual_information: what disagreement explains",
        )
    )
    strategy: Literal[
        "adaptive",
        "top",
        "power",
        "cluster",
        "herding",
        "typical",
        "uncertainty_herding",
        "kcenter",
        "rare",
        "random",
    ] = Field(
        "adaptive",
        description="how a batch is picked from the most informative candidates; adaptive: "
        "uncertainty_herding for the first 200 labels of a domain, then cluster; top: the most "
        "informative; power: drawn by how informative; cluster: the best of each cluster; "
        "herding, uncertainty_herding: cover all, by weight; kcenter: far apart; typical: the "
        "middle of clusters without a label; rare: looks for rare classes; random: drawn at random",
    )
    cold_start: Literal["random", "herding", "typical"] = Field(
        "herding",
        description="how a domain's first batch is picked, before there is a model; herding: "
        "samples that stand for all; typical: the middle of clusters; random: drawn at random",
    )
    candidates_per_label: int = Field(
        50, gt=0, description="candidates that compete for each label of a batch"
    )
    rescored_per_label: int = Field(
        75,
        gt=0,
        description="with training.rescore: candidates, how many samples of a domain fine-tuned "
        "specialists score for each label of a round",
    )
    fallback: Literal["random", "never"] = Field(
        "random",
        description="random: if random samples prove to teach more than selected ones, the next "
        "batch of the domain is drawn at random; never: batches are always selected",
    )


class NearDuplicatesConfig(Section):
    """Whether samples of a domain that are nearly the same share one label."""

    similarity: float | None = Field(
        None,
        gt=0,
        le=1,
        description="cosine from which a sample takes over the label of another, such as 0.98; "
        "default: off",
    )
    max_error: float = Field(
        0.05,
        gt=0,
        lt=1,
        description="a domain gives these labels back if audits show more of them to be wrong",
    )


class CertificateConfig(Section):
    """When a machine label may stand without a person."""

    max_error: float = Field(
        0.05, gt=0, lt=1, description="largest share of such labels that may be wrong"
    )
    confidence: float = Field(
        0.95, gt=0, lt=1, description="how sure the audit samples must be of that"
    )


class TrainingConfig(Section):
    """How the specialists are trained."""

    start: Literal["cold", "warm"] = Field(
        "cold", description="warm: start from the weights of the last round"
    )
    outside_weight: float = Field(
        0.3,
        gt=0,
        le=1,
        description="weight of other domains' labels when training a domain's specialist",
    )
    refit_growth: float = Field(
        1.5,
        ge=1,
        description="fine-tuned specialists are trained anew when the labels have grown by this "
        "factor and in the last round, and score the pool anew only then; so are those that did "
        "not pay; 1: in every round",
    )
    rescore: Literal["all", "candidates"] = Field(
        "all",
        description="which samples of a pool fine-tuned specialists score; candidates: those that "
        "the other specialists find most informative, which alone can be selected then; all: every "
        "sample",
    )
    workers: int = Field(
        0,
        ge=0,
        description="Ray Train workers per specialist; 0: one task, which starts 100x faster",
    )
    use_gpu: bool = Field(False, description="train on a GPU")
    folds: int = Field(5, ge=2, description="folds of the cross-validation for calibration")


class IngestConfig(Section):
    """What is accepted into the pool."""

    max_bad_share: float = Field(
        0.05, ge=0, le=1, description="a larger share of bad rows in a source stops the campaign"
    )
    changed_sources: Literal["error", "keep"] = Field(
        "error",
        description="when samples that were read have changed or are gone: stop, or go on with "
        "what was read; new samples join the pool either way",
    )
    max_image_pixels: int = Field(50_000_000, gt=0, description="larger images are bad rows")
    max_text_chars: int = Field(100_000, gt=0, description="longer texts are bad rows")
    rows_per_part: int = Field(
        10_000, gt=0, description="rows of one file of the pool, the unit of work and of resume"
    )


class PlacementConfig(Section):
    """Which nodes of a cluster do what, by their labels; default: any node."""

    scoring: dict[str, Name] = Field(
        {}, description="nodes that encode and score, such as {umc: scoring}"
    )
    training: dict[str, Name] = Field({}, description="nodes that train, such as {umc: training}")


class CampaignConfig(Section):
    """One curation project."""

    name: Name = Field(description="name of the campaign and of its run directory")
    storage: Location = Field("./runs", description="folder or s3://bucket/prefix of all campaigns")
    seed: int = Field(
        0, ge=0, le=2**31 - 1, description="seed of everything random: same seed, same campaign"
    )
    tasks: dict[Name, TaskConfig] = Field(min_length=1)
    budget: BudgetConfig
    allocation: AllocationConfig = AllocationConfig()
    selection: SelectionConfig = SelectionConfig()
    near_duplicates: NearDuplicatesConfig = NearDuplicatesConfig()
    refine: RefineConfig = RefineConfig()
    annotation: AnnotationConfig = AnnotationConfig()
    training: TrainingConfig = TrainingConfig()
    fairness: FairnessConfig = FairnessConfig()
    robustness: RobustnessConfig = RobustnessConfig()
    certificate: CertificateConfig = CertificateConfig()
    ingest: IngestConfig = IngestConfig()
    placement: PlacementConfig = PlacementConfig()
    stop: StopConfig = StopConfig()
    release: ReleaseConfig = ReleaseConfig()

    @model_validator(mode="after")
    def _answers_exist(self) -> Self:
        for domain_key, domain in self.domains().items():
            if self.annotation.traits.knows_answers and not (domain.label or domain.ratings):
                raise ValueError(
                    f"{self.annotation.backend} needs label or ratings: a column of {domain_key}"
                )
        if "://" in self.storage and self.annotation.database is None:
            raise ValueError(
                f"storage {self.storage} is not a disk: "
                "annotation.database must name where answers are kept"
            )
        return self

    @model_validator(mode="after")
    def _heads_exist(self) -> Self:
        for name, task in self.tasks.items():
            if self.training.rescore == "candidates" and all(
                each.fine_tunes for each in task.ensemble().values()
            ):
                raise ValueError(
                    f"training.rescore: candidates needs heads that find the candidates, but all "
                    f"specialists of {name} are fine-tuned: add a head, such as head: {{}}"
                )
        return self

    @model_validator(mode="after")
    def _groups_and_labels_exist(self) -> Self:
        labels = {name: task.labels for name, task in self.tasks.items()}
        domains = [str(key) for key in self.domains()]
        found = (
            *self.fairness.problems(self.tasks),
            *self.annotation.label_problems(labels),
            *self.annotation.skill_problems(domains),
        )
        if problems := list(found):
            raise ValueError("\n".join(problems))
        return self

    @model_validator(mode="after")
    def _held_out_exists(self) -> Self:
        has_tests = any(domain.test is not None for domain in self.domains().values())
        if self.release.held_out is not None and not has_tests:
            raise ValueError(
                f"release.splits: {self.release.held_out} is {HELD_OUT}, but no domain has test: "
                "name test data, or give the split a share"
            )
        return self

    @model_validator(mode="after")
    def _files_have_a_domain(self) -> Self:
        names = [str(domain_key) for domain_key in self.domains()]
        for name, generator in self.refine.generators.items():
            if generator.domain not in (None, *names):
                raise ValueError(
                    f"refine.generators.{name} names domain {generator.domain}, "
                    f"the campaign has {', '.join(names)}"
                )
            if generator.kind == "files" and generator.domain is None and len(names) > 1:
                raise ValueError(
                    f"refine.generators.{name} needs domain, one of {', '.join(names)}"
                )
        return self

    @model_validator(mode="after")
    def _language_models_write_single_texts(self) -> Self:
        pairs = [str(key) for key in self.domains() if self.tasks[key.task].pair]
        for name, generator in self.refine.generators.items():
            asked = [each for each in pairs if generator.domain in (None, each)]
            if generator.kind == "language_model" and asked:
                raise ValueError(
                    f"refine.generators.{name} writes single texts, the samples of "
                    f"{' and '.join(asked)} are pairs: name another domain, or use kind files"
                )
        return self

    @property
    def run_root(self) -> str:
        """The run directory."""
        return f"{self.storage.rstrip('/')}/{self.name}"

    def domains(self) -> dict[DomainKey, DomainConfig]:
        """Return all domains of all tasks, in the order of the file."""
        return {
            DomainKey(task, name): domain
            for task, config in self.tasks.items()
            for name, domain in config.domains.items()
        }

    def domain(self, domain_key: DomainKey) -> DomainConfig:
        """Return one of them.

        Raises:
            ConfigError: there is no such domain.
        """
        domains = self.domains()
        if domain_key not in domains:
            names = ", ".join(map(str, domains))
            if not domain_key.domain:
                raise ConfigError(
                    f"name a domain as TASK/DOMAIN, one of {names}; found {domain_key.task!r}"
                )
            raise ConfigError(f"no domain {domain_key}, the campaign has {names}")
        return domains[domain_key]

    def groups_with_thresholds(self) -> dict[DomainKey, list[str]]:
        """Return the columns of groups by which samples are predicted, by domain."""
        if not self.fairness.thresholds:
            return {}
        return {key: domain.groups for key, domain in self.domains().items() if domain.groups}

    def reduced_to(self, domain_key: DomainKey, domain: DomainConfig) -> Self:
        """Return a campaign with this domain only."""
        domains = {"domains": {domain_key.domain: domain}}
        task = self.tasks[domain_key.task].model_copy(update=domains)
        return self.model_copy(update={"tasks": {domain_key.task: task}})

    def costs(self) -> dict[DomainKey, float]:
        """Return what one answer costs, by domain, in the campaign's unit."""
        return {domain_key: domain.cost_per_label for domain_key, domain in self.domains().items()}
