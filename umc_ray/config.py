"""campaign.yaml: what a campaign is, in the user's words.

Every default is explained where it stands; `umc init` writes these comments out. Unknown keys,
missing files and impossible values are ConfigErrors that name the file and the line.
"""

import hashlib
import json
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import pydantic
import yaml
from pydantic import Field, model_validator

from umc_ray.errors import ConfigError
from umc_ray.records import Arm

NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"
"""What can be the name of a folder."""

Name = Annotated[str, Field(pattern=NAME)]


class Section(pydantic.BaseModel):
    """A part of the campaign file: unknown keys are refused, values do not change."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)


class EncoderConfig(Section):
    """The frozen model that turns a sample into an embedding, once."""

    kind: Literal["static_text", "transformers", "gradients", "pixels"]
    path: str | None = Field(None, description="folder of the weights (static_text, transformers)")
    batch_size: int = Field(64, gt=0, description="samples per forward pass")
    workers: int | None = Field(
        None, gt=0, description="actors, each with a copy of the model; default: one per CPU or GPU"
    )
    max_workers: int | None = Field(
        None, gt=0, description="grow to so many actors as the cluster grows; default: workers stay"
    )
    num_gpus: float = Field(0.0, ge=0, description="GPUs per actor; 0 runs on the CPU")
    image_px: int = Field(32, ge=8, le=1024, description="images are resized to this square")
    max_tokens: int = Field(256, gt=0, description="longer texts are cut here")

    @model_validator(mode="after")
    def _is_possible(self) -> Self:
        if self.kind in ("static_text", "transformers") and self.path is None:
            raise ValueError(f"encoder kind {self.kind} needs path: the folder of its weights")
        if self.max_workers is not None and self.max_workers < (self.workers or 1):
            raise ValueError(f"max_workers {self.max_workers} < workers {self.workers}")
        return self


class DomainConfig(Section):
    """A source of samples."""

    source: str | list[str] = Field(
        description="files, globs or folders: parquet, jsonl, csv, images; local or s3://"
    )
    text: str | None = Field(None, description="column with the text")
    image: str | None = Field(
        None, description="column with image bytes or file paths; not needed for an image folder"
    )
    key: str | None = Field(
        None, description="column that names a row for good; default: the row number"
    )
    label: str | None = Field(
        None,
        description="column with known labels, read by replay and tests; for image folders: folder",
    )
    ratings: str | None = Field(None, description="column with lists of recorded ratings (replay)")
    test: str | list[str] | None = Field(
        None, description="held-out labeled samples of the same form; never selected"
    )
    cost_per_label: float = Field(1.0, gt=0, description="what one label costs, in any unit")


class SpecialistConfig(Section):
    """A model of the ensemble: a head over the embeddings."""

    domain: str | None = Field(None, description="its domain of expertise; none: a generalist")
    head: Literal["linear", "mlp"] = "linear"
    hidden: int = Field(64, gt=0, description="width of the hidden layer of an mlp")


class TaskConfig(Section):
    """A label space, the model that sees its samples, and where they come from."""

    kind: Literal["text_classification", "image_classification"]
    labels: list[str] = Field(description="the label set, at least two")
    encoder: EncoderConfig
    domains: dict[Name, DomainConfig] = Field(min_length=1)
    specialists: Literal["per_domain"] | dict[str, SpecialistConfig] = Field(
        "per_domain", description="per_domain: one for each domain and a generalist"
    )

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        if len(set(self.labels)) < 2 or len(set(self.labels)) != len(self.labels):
            raise ValueError(f"labels must be at least two different names, found {self.labels}")
        field = "text" if self.kind == "text_classification" else "image"
        for name, domain in self.domains.items():
            if field == "text" and domain.text is None:
                raise ValueError(f"domain {name} of a text task needs text: the column's name")
        for name, specialist in self.ensemble().items():
            if specialist.domain is not None and specialist.domain not in self.domains:
                raise ValueError(
                    f"specialist {name} names domain {specialist.domain}, "
                    f"the task has {', '.join(self.domains)}"
                )
        return self

    def ensemble(self) -> dict[str, SpecialistConfig]:
        """Return the specialists by name."""
        if self.specialists != "per_domain":
            return self.specialists
        own = {name: SpecialistConfig(domain=name) for name in self.domains}
        return {**own, "generalist": SpecialistConfig(domain=None)}


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

    backend: Literal["replay", "sheet", "web", "label_studio"] = Field(
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

    @model_validator(mode="after")
    def _votes_can_grow(self) -> Self:
        if self.max_votes is not None and not 2 <= self.votes <= self.max_votes:
            raise ValueError(f"max_votes {self.max_votes} needs votes from 2, found {self.votes}")
        if self.max_votes is not None and self.backend == "sheet":
            raise ValueError("a sheet has a fixed number of votes: max_votes needs another backend")
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
    use_gpu: bool = False
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

    when: Literal["any", "all"] = "any"
    labels: int | None = Field(None, gt=0)
    accuracy: float | None = Field(
        None, gt=0, le=1, description="macro accuracy on the audit samples"
    )
    plateau: int | None = Field(
        None, gt=0, description="rounds without a better macro accuracy on the audit samples"
    )


class CampaignConfig(Section):
    """One curation project."""

    name: Name
    storage: str = Field("./runs", description="folder or s3://bucket/prefix of all campaigns")
    seed: int = 0
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
        for arm, domain in self.domains().items():
            if self.annotation.backend == "replay" and not (domain.label or domain.ratings):
                raise ValueError(f"replay needs label or ratings: a column of domain {arm}")
        if "://" in self.storage and self.annotation.database is None:
            raise ValueError(
                f"storage {self.storage} is not a disk: "
                "annotation.database must name where answers are kept"
            )
        return self

    def domains(self) -> dict[Arm, DomainConfig]:
        """Return all domains of all tasks, in the order of the file."""
        return {
            Arm(task, name): domain
            for task, config in self.tasks.items()
            for name, domain in config.domains.items()
        }

    def costs(self) -> dict[Arm, float]:
        """Return what one answer costs, by domain, in the campaign's unit."""
        return {arm: domain.cost_per_label for arm, domain in self.domains().items()}


def fingerprint(value: Any) -> str:  # noqa: ANN401 - anything that JSON can hold
    """Return 16 hex digits that change when the JSON form of a value changes."""
    text = json.dumps(value, sort_keys=True, default=str)
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def load_campaign(path: Path) -> CampaignConfig:
    """Read and check a campaign file; paths in it are relative to its folder.

    Raises:
        ConfigError: with the file, the line and what is wrong there.
    """
    try:
        text = path.read_text(encoding="utf-8")
        values = yaml.safe_load(text)
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except OSError as error:
        raise ConfigError(f"cannot read campaign file {path}: {error.strerror}") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} is not YAML: {' '.join(str(error).split())}") from error
    if root is None or not isinstance(values, dict):
        raise ConfigError(f"{path} must hold keys such as name and tasks, found {values!r:.40}")
    try:
        config = CampaignConfig.model_validate(values)
    except pydantic.ValidationError as error:
        raise ConfigError(_first_problem(path, root, error)) from error
    return _with_absolute_paths(config, path.parent.resolve())


def _first_problem(path: Path, root: yaml.Node, error: pydantic.ValidationError) -> str:
    """Say the most telling of the problems that pydantic found, with its line."""
    problem = max(error.errors(), key=lambda item: item["type"] == "extra_forbidden")
    loc = [str(step) for step in problem["loc"]]
    line, message = _line_of(root, loc), problem["msg"].removeprefix("Value error, ")
    if problem["type"] in ("extra_forbidden", "missing"):
        *loc, key = loc
        unknown = problem["type"] == "extra_forbidden"
        message = f"unknown key {key!r}" if unknown else f"{key!r} is missing"
    where = f"{'.'.join(loc)}: " if loc else ""
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    return f"{path}:{line}: {where}{message}{more}"


def _line_of(node: yaml.Node, loc: list[str]) -> int:
    """Return the line, from 1, of the deepest step of a location that is in the file."""
    line = node.start_mark.line + 1
    for step in loc:
        if isinstance(node, yaml.MappingNode):
            found = [(key, value) for key, value in node.value if key.value == step]
            if not found:
                continue
            line, node = found[0][0].start_mark.line + 1, found[0][1]
        elif isinstance(node, yaml.SequenceNode) and step.isdigit():
            node = node.value[int(step)]
            line = node.start_mark.line + 1
    return line


def _with_absolute_paths(config: CampaignConfig, folder: Path) -> CampaignConfig:
    """Resolve local paths against the campaign file's folder, so that workers find them."""

    def absolute(value: str) -> str:
        return value if "://" in value else str(folder / Path(value).expanduser())

    def all_absolute(value: str | list[str]) -> str | list[str]:
        return absolute(value) if isinstance(value, str) else [absolute(each) for each in value]

    def task(value: TaskConfig) -> TaskConfig:
        domains = {
            name: domain.model_copy(
                update={
                    "source": all_absolute(domain.source),
                    "test": None if domain.test is None else all_absolute(domain.test),
                }
            )
            for name, domain in value.domains.items()
        }
        weights = None if value.encoder.path is None else absolute(value.encoder.path)
        encoder = value.encoder.model_copy(update={"path": weights})
        return value.model_copy(update={"domains": domains, "encoder": encoder})

    tasks = {name: task(value) for name, value in config.tasks.items()}
    guidelines = config.annotation.guidelines
    annotation = config.annotation.model_copy(
        update={"guidelines": None if guidelines is None else absolute(guidelines)}
    )
    return config.model_copy(
        update={"storage": absolute(config.storage), "tasks": tasks, "annotation": annotation}
    )
