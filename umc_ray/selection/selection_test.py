"""Whether selected labels teach less than random ones, tested on samples drawn at random.

A domain's next batch is drawn at random where selection was significantly harmful in the domain or
in its task. The test is repeated after every round with all random samples so far; as soon as it
no longer finds selection harmful, batches are selected again.
"""

from dataclasses import asdict, dataclass

import numpy as np

from umc_ray.methods.identity import uniform
from umc_ray.methods.selection_test import FOLDS, LEVEL, Labels, SelectionTest, compare, judge
from umc_ray.records import FloatArray
from umc_ray.specialists.specialist import Examples
from umc_ray.tasks.task import TaskKind


@dataclass(frozen=True)
class SelectionVerdict:
    """The selection test of a domain, or of its task where that one decides.

    `selected` and `random`: utility of the two models on the n samples, added up.
    """

    of: str
    n: int
    selected: float
    random: float
    p: float
    harmful: bool

    def __str__(self) -> str:
        """Say what the test found."""
        selected, random = self.selected / self.n, self.random / self.n
        return (
            f"of {self.n} random samples of {self.of}, a model taught by selected ones had "
            f"{selected:.0%} right, one taught by as many random ones {random:.0%}"
        )


def compare_selection(
    examples: Examples, embeddings_ND: FloatArray, task: str, kind: TaskKind
) -> dict[str, SelectionVerdict]:
    """Compare selected labels of a task with as many drawn at random; a verdict by domain.

    A verdict holds the numbers of the domain's own test, or those of its task where that one finds
    selection harmful and the domain's does not. Empty as long as nothing can be compared.
    """
    # The purpose of these random numbers keeps its first name, so that results stay the same.
    folds_N = (uniform(examples.ids_N, 0, "benefit") * FOLDS).astype(np.int64)
    labels = Labels(
        embeddings_ND=embeddings_ND,
        targets=examples.targets,
        domains_N=examples.domains_N,
        rounds_N=examples.rounds_N,
        random_N=examples.random_N,
        folds_N=folds_N,
    )
    compared = compare(labels, kind.outputs, kind.loss, kind.raw_utility)
    if compared is None:
        return {}
    whole = judge(compared.selected_U, compared.random_U)
    verdicts = {}
    for domain in np.unique(examples.domains_N):
        rows_U = compared.domains_U == domain
        own = judge(compared.selected_U[rows_U], compared.random_U[rows_U])
        verdicts[f"{task}/{domain}"] = _verdict(own, str(domain), whole, task)
    return verdicts


def _verdict(own: SelectionTest, domain: str, whole: SelectionTest, task: str) -> SelectionVerdict:
    by_task = whole.p <= LEVEL < own.p
    decisive, of = (whole, task) if by_task else (own, domain)
    return SelectionVerdict(of=of, **asdict(decisive), harmful=decisive.p <= LEVEL)
