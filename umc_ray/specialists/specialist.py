"""What a specialist is: a member of the ensemble, and what it learns from.

Suffixes: S specialists, N samples, C outputs, D embedding dimension.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, Self

import numpy as np
import numpy.typing as npt
from torch import Tensor

from umc_ray.config.campaign import TrainingConfig
from umc_ray.config.encoder import EncoderConfig
from umc_ray.config.specialist import SpecialistConfig
from umc_ray.encoders.encoder import Payload
from umc_ray.methods.class_weights import balanced, reweighed
from umc_ray.methods.intersections import joined_names
from umc_ray.records import FloatArray, IntArray
from umc_ray.storage import Storage
from umc_ray.tasks.task import Targets, TaskKind

Rows = npt.NDArray[np.floating]
"""What a specialist reads of N samples: embeddings ND of an encoder, or outputs NC of its own."""


def outputs_of(specialist: str) -> str:
    """Name the table of a fine-tuned specialist's outputs, beside those of encoders.

    No encoder can have such a name.
    """
    return f"outputs of {specialist}"


@dataclass(frozen=True)
class SyntheticRows:
    """How synthetic samples take part in training; they follow the `real` first examples.

    A sample is held out together with the one that it is an image of, so that what was made from a
    sample never teaches the models that are judged by it.
    """

    real: int
    weights_N: FloatArray  # what an example counts for in training; a real one: 1
    origins_N: IntArray  # the sample that decides when an example is held out: itself, if real


@dataclass(frozen=True)
class Examples:
    """The labeled samples of a task."""

    texts_N: tuple[str, ...]  # labels as the task's kind writes them
    targets: Targets  # the same as models see them
    features: Mapping[str, FloatArray]  # embeddings ND by encoder
    domains_N: npt.NDArray[np.str_]
    ids_N: IntArray
    audit_N: npt.NDArray[np.bool_]
    random_N: npt.NDArray[np.bool_]  # drawn at random: audits, and batches without selection
    rounds_N: IntArray  # in which they were labeled
    agreement_N: FloatArray  # share of the people who gave this label
    payloads_N: tuple[Payload, ...] | None = None  # where a specialist reads the samples themselves
    synthetic: SyntheticRows | None = None  # None: all are real
    groups: Mapping[str, npt.NDArray[np.str_]] = field(default_factory=dict)  # N names by attribute

    def __len__(self) -> int:
        """Return N."""
        return len(self.ids_N)

    @property
    def real(self) -> "Examples":
        """The real samples: synthetic ones teach, but nothing is judged by them."""
        return self if self.synthetic is None else self.rows(slice(self.synthetic.real))

    def judging(self, weights_N: FloatArray) -> FloatArray:
        """Return what examples weigh where models are judged: synthetic ones nothing."""
        if self.synthetic is None:
            return weights_N
        return np.where(np.arange(len(self)) < self.synthetic.real, weights_N, np.float32(0))

    def rows(self, rows: slice) -> "Examples":
        """Return some of the examples, of which none is synthetic."""
        return Examples(
            texts_N=self.texts_N[rows],
            targets=self.targets[rows],
            features={name: x_ND[rows] for name, x_ND in self.features.items()},
            domains_N=self.domains_N[rows],
            ids_N=self.ids_N[rows],
            audit_N=self.audit_N[rows],
            random_N=self.random_N[rows],
            rounds_N=self.rounds_N[rows],
            agreement_N=self.agreement_N[rows],
            payloads_N=None if self.payloads_N is None else self.payloads_N[rows],
            groups={name: groups_N[rows] for name, groups_N in self.groups.items()},
        )


@dataclass(frozen=True)
class Epoch:
    """What an epoch of fine-tuning gave; stages are the folds and, last, all samples."""

    stage: int
    epoch: int
    loss: float
    samples: int  # on which it trained
    samples_per_s: float


Tensors = dict[str, Tensor]

OnEpoch = Callable[[Epoch, Callable[[], Tensors]], None]
"""Callback after each epoch, with what returns the state to resume from."""


def ignore_epoch(_: Epoch, __: Callable[[], Tensors]) -> None:
    """Do nothing; unlike a lambda, it can be sent to a process."""


@dataclass(frozen=True)
class FitJob:
    """What fitting a specialist needs to know beside the examples."""

    specialist: SpecialistConfig
    kind: TaskKind
    storage: Storage
    folder: str  # where it is stored; its last part is the specialist's name
    before: str | None  # folder of the one that it starts from; None: from scratch
    seed: int
    training: TrainingConfig
    encoder: EncoderConfig | None = None  # of which it trains the network
    on_epoch: OnEpoch = ignore_epoch
    resume: Tensors | None = None
    reweighing: float = 0.0  # exponent of the weights of classes by group

    @property
    def name(self) -> str:
        """The specialist's name."""
        return self.folder.rpartition("/")[2]

    def training_weights(self, examples: Examples, weights_N: FloatArray) -> FloatArray:
        """Return what examples weigh in the training loss; what is held out keeps its weight."""
        classes_N = self.kind.strata(examples.texts_N)
        if self.reweighing and examples.groups:
            weights_N = self._reweighed(examples, weights_N, classes_N)
        if self.specialist.class_weights == "none":
            return weights_N
        return balanced(weights_N, classes_N)

    def _reweighed(
        self, examples: Examples, weights_N: FloatArray, classes_N: IntArray
    ) -> FloatArray:
        """Weigh classes by group, each domain by itself; one without groups stays as it is."""
        named_N = joined_names(list(examples.groups.values()))
        codes_N = np.unique(named_N, return_inverse=True)[1].astype(np.int64)
        found_N = weights_N.copy()
        for domain in np.unique(examples.domains_N):
            own_N = examples.domains_N == domain
            found_N[own_N] = reweighed(
                weights_N[own_N], codes_N[own_N], classes_N[own_N], self.reweighing
            )
        return found_N


@dataclass(frozen=True)
class FitReport:
    """What a fit says of itself; `weights` changes when the model does."""

    loss: float  # held out, before calibration for heads, after it for fine-tuned networks
    penalty: float | None  # of a head
    weights: str
    epochs: int | None = None  # of a fine-tuned network


class Specialist(Protocol):
    """A fitted model. Members with equal `group` are computed together."""

    @property
    def dimensions(self) -> Mapping[str, int]:
        """D of the embeddings that it reads, by encoder; in the order in which it reads them."""
        ...

    @property
    def group(self) -> object:
        """Equal for members that `together` can take."""
        ...

    @classmethod
    def fit(
        cls, job: FitJob, examples: Examples, weights_N: FloatArray, folds_N: IntArray, device: str
    ) -> tuple[Self, FloatArray, FitReport]:
        """Fit to the examples, together with the other processes of a group, if there are any.

        All of them are given all examples.

        Returns:
            The model, its held-out outputs NC for all examples, and the report.
        """
        ...

    @classmethod
    def load(cls, config: SpecialistConfig, storage: Storage, folder: str) -> Self:
        """Load a stored one.

        Raises:
            StoreError: its files are missing.
        """
        ...

    def save(self, storage: Storage, folder: str) -> None:
        """Store it, as safetensors."""
        ...

    @staticmethod
    def together(members: Sequence[Any]) -> Callable[[Tensor], Tensor]:
        """Return the function from rows to the outputs SNC of some members of one group.

        The rows are the embeddings of all encoders that they read, side by side.
        """
        ...
