"""What a run directory holds: parts, feature tables, and the documents of finished rounds."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

from umc_ray.campaign.documents import Fairness, RoundMetrics, Training
from umc_ray.campaign.precision import settle_precision
from umc_ray.campaign.verify import check_files
from umc_ray.config.campaign import CampaignConfig
from umc_ray.diversity.synthetic import synthetic_parts
from umc_ray.errors import StoreError
from umc_ray.ingest.manifest import read_manifest
from umc_ray.passes.encode import features_table
from umc_ray.passes.score import FeatureTables, PoolScores
from umc_ray.records import DomainKey, Part, Split
from umc_ray.specialists.ensemble import EnsembleRef
from umc_ray.storage import Storage
from umc_ray.tasks.task import TaskKind

MIN_ORDER_SIZE = 2000

UNUSABLE = "unusable.json"
"""By domain, the samples that no encoder could read."""

LEARNED = ("training.json", "scores.json", "metrics.json")
"""What learning a round's labels stores in its folder."""

RESCORED = "rescored.json"
"""In a round's folder, if heads score first: how many samples fine-tuned specialists scored."""

FAIRNESS = "fairness.json"
ROBUSTNESS = "robustness.json"
"""In a round's folder, if domains name groups: how these fare."""

REMARKED = "remarks.parquet"
"""In a round's folder: the flags and notes of people so far."""

VALIDATION = "validation.parquet"
"""In a round's folder, in the columns of BATCH: what people validate."""

GAPS = "gaps.json"
"""In a round's folder: the patterns of each domain's pool that have too few labels."""

LABEL_CHANGES = "label_changes.json"
"""By task, the first round whose specialists know its labels as they are now."""

Document = TypeVar("Document")


def round_folder(number: int) -> str:
    """Name the folder of a round."""
    return f"rounds/{number:04d}"


def round_folders(rounds: int) -> list[str]:
    """Name the folders of the first rounds."""
    return [round_folder(number) for number in range(1, rounds + 1)]


GIVEN = round_folder(0)
"""The folder of the labels that the sources came with, if there are any."""


@dataclass(frozen=True)
class RunState:
    """A campaign's configuration and its run directory."""

    config: CampaignConfig

    def __post_init__(self) -> None:
        """Choose what the campaign file leaves to the machine that begins the campaign."""
        object.__setattr__(self, "config", settle_precision(self.config, self.storage))

    @cached_property
    def storage(self) -> Storage:
        """The run directory."""
        return Storage(self.config.run_root)

    @cached_property
    def kinds(self) -> Mapping[str, TaskKind]:
        """The kind of each task, with its label space."""
        return {name: task.task_kind() for name, task in self.config.tasks.items()}

    @cached_property
    def parts(self) -> tuple[Part, ...]:
        """All parts, of pools, tests and target sets, of the domains that are ingested."""
        return self.parts_now()

    def parts_now(self) -> tuple[Part, ...]:
        """Return all parts as they are now, for what outlives a run: a pool may have grown."""
        return tuple(
            part
            for domain_key, domain in self.config.domains().items()
            for split in domain.splits
            for part in read_manifest(self.storage, domain_key, split).parts
        )

    @property
    def pools(self) -> tuple[Part, ...]:
        """The parts of all pools."""
        return tuple(part for part in self.parts if part.split == "pool")

    @property
    def synthetic(self) -> tuple[Part, ...]:
        """The parts of synthetic samples, as they are now."""
        return synthetic_parts(self.storage, list(self.config.domains()))

    def askable_parts(self) -> tuple[Part, ...]:
        """Return all parts as they are now that people can be asked about."""
        return (*(part for part in self.parts_now() if part.split == "pool"), *self.synthetic)

    def pool(self, domain_key: DomainKey) -> tuple[Part, ...]:
        """Return the parts of a domain's pool."""
        return self.of_split(domain_key, "pool")

    def of_split(self, domain_key: DomainKey, split: Split) -> tuple[Part, ...]:
        """Return the parts of a domain's pool, test split or target set."""
        return tuple(p for p in self.parts if (p.domain_key, p.split) == (domain_key, split))

    @cached_property
    def features(self) -> Mapping[str, FeatureTables]:
        """By task, the table of each encoder's features."""
        return {
            name: {
                encoder: features_table(config) for encoder, config in task.named_encoders.items()
            }
            for name, task in self.config.tasks.items()
        }

    @property
    def selection_features(self) -> Mapping[str, str]:
        """By task, the table of the encoder that selection goes by."""
        return {
            name: self.features[name][task.default_encoder]
            for name, task in self.config.tasks.items()
        }

    @property
    def order_size(self) -> int:
        """How much of the random orders is kept: no campaign asks for more."""
        return max(self.config.budget.labels, MIN_ORDER_SIZE)

    def unusable(self) -> dict[str, list[int]]:
        """Return the samples that no encoder can read, and the forgotten ones, by domain."""
        known = self.storage.exists(UNUSABLE)
        found: dict[str, list[int]] = self.storage.read_json(UNUSABLE) if known else {}
        return found

    @property
    def finished_rounds(self) -> int:
        """How many rounds are done."""
        number = 0
        while self.storage.exists(f"{round_folder(number + 1)}/bandit.json"):
            number += 1
        return number

    def is_learned(self, number: int) -> bool:
        """Whether a finished round has all that its labels taught."""
        folder = round_folder(number)
        return all(self.storage.exists(f"{folder}/{name}") for name in LEARNED)

    def check_learned(self, number: int) -> None:
        """Make sure that a finished round can be shown.

        Raises:
            StoreError: files of it are lost; or its labels have changed, and nothing has learned
                them yet.
        """
        if number and not self.storage.exists(f"{round_folder(number)}/metrics.json"):
            check_files(self.storage)
            raise StoreError(
                f"the labels of {self.config.name} have changed and its models have not learned "
                "them yet: umc run"
            )

    @property
    def has_given_labels(self) -> bool:
        """Whether people answer, and some of the samples came with a label."""
        return self.storage.exists(f"{GIVEN}/labels.parquet")

    def folders(self, rounds: int) -> list[str]:
        """Name the folders of the labels after some rounds, oldest first."""
        given = [GIVEN] if self.has_given_labels else []
        return [*given, *round_folders(rounds)]

    def newest(self, number: int) -> int:
        """Return the newest round before one whose specialists have scored the pool.

        0 stands for the specialists that given labels taught, if there are any.
        """
        before = range(number - 1, 0, -1)
        done = (n for n in before if self.storage.exists(f"{round_folder(n)}/metrics.json"))
        return next(done, 0)

    def training(self, number: int) -> Training | None:
        """Return what training gave in the newest round before one, if there is one."""
        return self._newest(number, "training", Training)

    def ensembles_before(self, number: int) -> dict[str, EnsembleRef]:
        """Return the newest ensembles before a round, of the tasks whose labels are the same."""
        training, newest = self.training(number), self.newest(number)
        since = self.label_changes()
        found = {} if training is None else training.ensembles
        return {task: ref for task, ref in found.items() if newest >= since.get(task, 0)}

    def label_changes(self) -> dict[str, int]:
        """Return the first round whose specialists know the labels as they are, by task."""
        known = self.storage.exists(LABEL_CHANGES)
        found: dict[str, int] = self.storage.read_json(LABEL_CHANGES) if known else {}
        return found

    def scores(self, number: int) -> PoolScores | None:
        """Return what scoring gave in the newest round before one, if there is one."""
        return self._newest(number, "scores", PoolScores)

    def metrics(self, number: int) -> RoundMetrics | None:
        """Return the metrics of the newest round before one, if there is one."""
        return self._newest(number, "metrics", RoundMetrics)

    def _newest(self, number: int, name: str, kind: type[Document]) -> Document | None:
        folder = round_folder(self.newest(number))
        if not self.storage.exists(f"{folder}/metrics.json"):
            return None
        return self.storage.read_record(f"{folder}/{name}.json", kind)

    def fairness(self, rounds: int) -> dict[int, Fairness]:
        """Return what the first rounds found out about groups, by round; of those that did."""
        keys = {n: f"{folder}/{FAIRNESS}" for n, folder in enumerate(round_folders(rounds), 1)}
        return {
            number: self.storage.read_record(key, Fairness)
            for number, key in keys.items()
            if self.storage.exists(key)
        }

    def round_metrics(self, rounds: int) -> list[RoundMetrics]:
        """Return the metrics of the first rounds, oldest first."""
        return [
            self.storage.read_record(f"{folder}/metrics.json", RoundMetrics)
            for folder in round_folders(rounds)
        ]
