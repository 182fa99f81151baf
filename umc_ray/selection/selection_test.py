"""Whether selection pays, by the samples that were drawn at random, and what follows if not.

A domain's next batch is drawn at random where selection was significantly worse in it or in its
task. The test is made anew after every round, with all that was drawn at random by then: as soon
as it finds selection no worse any more, selection chooses again.
"""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np

from umc_ray.methods.identity import uniform
from umc_ray.methods.selection_test import FOLDS, LEVEL, Labels, SelectionTest, compare, judge
from umc_ray.specialists.training import TrainingSet


def compare_selection(samples: TrainingSet, task: str, classes: int) -> dict[str, dict[str, Any]]:
    """Compare selected labels of a task with as many drawn at random; the verdict by arm.

    A verdict holds the numbers of the domain's own test, or those of its task where that one finds
    selection worse and the domain's does not. Empty as long as nothing can be compared.
    """
    folds_N = (uniform(samples.ids_N, 0, "benefit") * FOLDS).astype(np.int64)
    labels = Labels(
        embeddings_ND=samples.embeddings_ND,
        labels_N=samples.labels_N,
        domains_N=samples.domains_N,
        rounds_N=samples.rounds_N,
        random_N=samples.random_N,
        folds_N=folds_N,
    )
    found = compare(labels, classes)
    if found is None:
        return {}
    whole = judge(found.selected_U, found.random_U)
    verdicts = {}
    for domain in np.unique(samples.domains_N):
        mine_U = found.domains_U == domain
        own = judge(found.selected_U[mine_U], found.random_U[mine_U])
        verdicts[f"{task}/{domain}"] = _verdict(own, str(domain), whole, task)
    return verdicts


def _verdict(own: SelectionTest, domain: str, whole: SelectionTest, task: str) -> dict[str, Any]:
    by_task = whole.p <= LEVEL < own.p
    found, of = (whole, task) if by_task else (own, domain)
    return {"of": of, **asdict(found), "harmful": found.p <= LEVEL}


def say(verdict: Mapping[str, Any]) -> str:
    """Say what the test found."""
    selected, random = (verdict[name] / verdict["n"] for name in ("selected", "random"))
    return (
        f"of {verdict['n']} random samples of {verdict['of']}, a model taught by selected ones had "
        f"{selected:.0%} right, one taught by as many random ones {random:.0%}"
    )
