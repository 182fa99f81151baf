"""campaign.yaml: what a campaign is, in the user's words.

Every default is explained where it stands; `umc init` writes these comments out.
"""

from typing import Literal, Self

from pydantic import Field, model_validator

from umc_ray.config.backends import BACKENDS, BackendTraits
from umc_ray.config.section import Name, Section
from umc_ray.config.task import DomainConfig, TaskConfig
from umc_ray.records import DomainKey


class BudgetConfig(Section):
    """How many labels people can give."""

    labels: int = Field(gt=0, description="labels of the whole campaign")
    per_round: int = Field(gt=0, description="labels of one round")
    audit: float = Field(
        0.1, ge=0, le=1, description="share drawn at random, to measure accuracy without bias"
    )


class AllocationConfig(Section):
    """How a round's labels are split over the domains."""

    policy: Literal["gradient", "thompson", "ucb", "uniform", "proportional", "uncertainty"] = (
        Field("ucb", description="the bandit's rule; benchmarks/allocation.py compares them")
    )
    objective: Literal["pooled", "macro", "worst"] = Field(
        "macro", description="what counts: all samples alike, all domains alike, the worst domain"
    )
    floor: float = Field(
        0.05, ge=0, lt=1, description="least share of a round's labels for each domain"
    )
    costs: Literal["configured", "measured"] = Field(
        "configured",
        description="what a label costs the bandit: cost_per_label, or what times at work tell",
    )


class SelectionConfig(Section):
    """Which samples of a domain people are asked about."""

    acquisition: Literal["margin", "entropy", "score", "least_confidence", "mutual_information"] = (
        Field("margin", description="how informative a sample is; score: the ensemble's")
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
        description="how a batch is picked from the most informative candidates; "
        "benchmarks/label_efficiency.py compares them; adaptive: uncertainty_herding for the "
        "first 200 labels of a domain, then cluster; rare: to find more of a rare class",
    )
    cold_start: Literal["random", "herding", "typical"] = Field(
        "herding", description="how a domain's first batch is picked, before there is a model"
    )
    candidates_per_label: int = Field(
        50, gt=0, description="candidates that compete for one label of the batch"
    )
    fallback: Literal["random", "never"] = Field(
        "random",
        description="random: where samples drawn at random prove to teach more than selected "
        "ones, the next batch is drawn at random",
    )


class NearDuplicatesConfig(Section):
    """Whether one label pays for all samples of a domain that are nearly the same."""

    similarity: float | None = Field(
        None,
        gt=0,
        le=1,
        description="cosine from which a sample takes over a labeled one's label, such as 0.98; "
        "default: none does",
    )
    max_error: float = Field(
        0.05,
        gt=0,
        lt=1,
        description="audits that show more of a domain's to be wrong make it give them back",
    )


class AnnotationConfig(Section):
    """Who answers."""

    backend: str = Field(
        "sheet",
        description="sheet: a CSV file per round to fill in; web: `umc annotate`; "
        "label_studio: `umc labelstudio`; replay: known labels",
    )
    votes: int = Field(1, gt=0, description="answers per sample")
    max_votes: int | None = Field(
        None, gt=1, description="more answers, up to so many, where `votes` leave a label open"
    )
    suggestion: Literal["show", "after_first_choice", "hidden"] = Field(
        "show", description="when the page shows what the model thinks; never on audit samples"
    )
    guidelines: str | None = Field(None, description="Markdown file that the page shows (web)")
    overlap: bool = Field(
        False,
        description="ask a round while the one before it is answered and trained on: people never "
        "wait, and models that know one round less choose (benchmarks/overlap.py tells the cost)",
    )
    review: bool = Field(
        False, description="a round waits until reviewers decided where people disagree (web)"
    )
    lease_s: float = Field(
        300.0, gt=0, description="how long a sample stays on the screen of who left (web)"
    )
    gold_every: int | None = Field(
        None, gt=1, description="every so many samples one with a known label, if there are (web)"
    )
    database: str | None = Field(
        None, description="SQLAlchemy URL of the annotation store; default: labels.db in the run"
    )

    @property
    def traits(self) -> BackendTraits:
        """What the backend can do."""
        return BACKENDS[self.backend]

    @model_validator(mode="after")
    def _is_possible(self) -> Self:
        if self.backend not in BACKENDS:
            raise ValueError(f"unknown backend {self.backend!r}; known: {', '.join(BACKENDS)}")
        if self.max_votes is not None and not 2 <= self.votes <= self.max_votes:
            raise ValueError(f"max_votes {self.max_votes} needs votes from 2, found {self.votes}")
        if self.max_votes is not None and not self.traits.votes_can_grow:
            raise ValueError(
                f"backend {self.backend} has a fixed number of votes: "
                "max_votes needs another backend"
            )
        return self


class CertificateConfig(Section):
    """When the endpoint may let a machine's label stand without a person."""

    max_error: float = Field(
        0.05, gt=0, lt=1, description="share of such labels that may be wrong, at most"
    )
    confidence: float = Field(
        0.95, gt=0, lt=1, description="how sure the audit samples must make us of that"
    )


class TrainingConfig(Section):
    """How the specialists are trained."""

    start: Literal["cold", "warm"] = Field(
        "cold", description="warm: from the weights of the round before"
    )
    outside_weight: float = Field(
        0.3, gt=0, le=1, description="weight of other domains' labels for a domain's specialist"
    )
    workers: int = Field(
        0, ge=0, description="Ray Train workers per specialist; 0: in one task, starts 100x faster"
    )
    use_gpu: bool = Field(False, description="train on a GPU")
    folds: int = Field(5, ge=2, description="folds of the cross-validation that calibrates")


class IngestConfig(Section):
    """What is accepted into the pool."""

    max_bad_share: float = Field(
        0.05, ge=0, le=1, description="more bad rows than this in a source stop the campaign"
    )
    max_image_pixels: int = Field(50_000_000, gt=0, description="larger images are bad rows")
    max_text_chars: int = Field(100_000, gt=0, description="longer texts are bad rows")
    rows_per_part: int = Field(
        10_000, gt=0, description="rows of a file of the pool: the unit of work and of resume"
    )


class PlacementConfig(Section):
    """Which nodes of a cluster do what, by the labels they were started with; none: any node."""

    scoring: dict[str, Name] = Field(
        {}, description="nodes that encode and score, such as {umc: scoring}"
    )
    training: dict[str, Name] = Field({}, description="nodes that train, such as {umc: training}")


class StopConfig(Section):
    """When the campaign ends before its budget is spent."""

    when: Literal["any", "all"] = Field(
        "any", description="stop when any of the rules below holds, or when all of them do"
    )
    labels: int | None = Field(None, gt=0, description="labels people gave so far")
    accuracy: float | None = Field(
        None, gt=0, le=1, description="macro accuracy on the audit samples"
    )
    plateau: int | None = Field(
        None, gt=0, description="rounds without a better macro accuracy on the audit samples"
    )


class CampaignConfig(Section):
    """One curation project."""

    name: Name = Field(description="name of the campaign and of its run directory")
    storage: str = Field("./runs", description="folder or s3://bucket/prefix of all campaigns")
    seed: int = Field(0, description="seed of everything random: same seed, same campaign")
    tasks: dict[Name, TaskConfig] = Field(min_length=1)
    budget: BudgetConfig
    allocation: AllocationConfig = AllocationConfig()
    selection: SelectionConfig = SelectionConfig()
    near_duplicates: NearDuplicatesConfig = NearDuplicatesConfig()
    annotation: AnnotationConfig = AnnotationConfig()
    training: TrainingConfig = TrainingConfig()
    certificate: CertificateConfig = CertificateConfig()
    ingest: IngestConfig = IngestConfig()
    placement: PlacementConfig = PlacementConfig()
    stop: StopConfig = StopConfig()

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

    def domains(self) -> dict[DomainKey, DomainConfig]:
        """Return all domains of all tasks, in the order of the file."""
        return {
            DomainKey(task, name): domain
            for task, config in self.tasks.items()
            for name, domain in config.domains.items()
        }

    def costs(self) -> dict[DomainKey, float]:
        """Return what one answer costs, by domain, in the campaign's unit."""
        return {domain_key: domain.cost_per_label for domain_key, domain in self.domains().items()}
