"""After a round: what each action on what is lacking has given, measured on held-out labels.

Suffixes: N labeled samples of a task, real ones first, F folds.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from umc_ray.campaign.documents import Shown
from umc_ray.campaign.gaps import class_name, gaps_after, made_for, pattern_name
from umc_ray.campaign.refill import refill_of
from umc_ray.campaign.run import Run
from umc_ray.campaign.state import round_folder
from umc_ray.campaign.synthetic import standings_of
from umc_ray.diversity.gaps import read_centers
from umc_ray.diversity.validation import VALIDATED
from umc_ray.methods.gaps import nearest
from umc_ray.methods.identity import uniform
from umc_ray.methods.refill import SEARCH, Arm
from umc_ray.methods.with_without import FOLDS, Bought, Labels, gains
from umc_ray.records import DomainKey, FloatArray, IntArray
from umc_ray.selection.batch import is_selected, picked_for
from umc_ray.selection.labeled import labels_so_far, of_domain
from umc_ray.specialists.specialist import Examples

Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Spent:
    """An answer that an arm cost; round 0: nobody was asked about this sample."""

    sample_id: int
    lack: str
    round: int
    cost: float


def measure_refill(
    run: Run, number: int, task: str, encoder: str, examples: Examples
) -> dict[str, list[Shown]]:
    """Measure what each arm of a task's domains has given so far, by domain.

    `encoder` is the one whose embeddings selection goes by. Empty where nothing is decided by it.
    """
    decided = refill_of(run, number).domains
    if not decided:
        return {}
    costs = _costs(run, number)
    names, bought, rounds = list[tuple[str, str]](), list[Bought](), list[dict[str, int]]()
    for key in run.config.domains():
        arms = decided.get(str(key), []) if key.task == task else []
        lacks = _lacking(run, number, key, examples, examples.features[encoder]) if arms else {}
        for action in dict.fromkeys(arm.action for arm in arms):
            own = [arm for arm in arms if arm.action == action]
            spent = _spent(run, number, key, own, costs)
            names.append((str(key), action))
            bought.append(_bought(run, number, key, examples, spent, lacks))
            rounds.append(_rounds(spent, own))
    if not bought:
        return {}
    labels, kind = _labels(run, number, task, examples, encoder, costs), run.kinds[task]
    measured = gains(labels, bought, kind.outputs, kind.loss, run.config.seed)
    shown: dict[str, list[Shown]] = {}
    for (domain, action), counts, found in zip(names, rounds, measured, strict=True):
        given = [Shown(lack, action, n, found.get(lack)) for lack, n in counts.items()]
        shown.setdefault(domain, []).extend(given)
    return shown


def _costs(run: Run, number: int) -> dict[int, float]:
    """Return what each real label has cost."""
    rows = labels_so_far(run.storage, run.folders(number))
    return dict(zip(rows["sample_id"].to_pylist(), rows["cost"].to_pylist(), strict=True))


def _spent(
    run: Run, number: int, key: DomainKey, arms: Sequence[Arm], costs: Mapping[int, float]
) -> list[Spent]:
    """Return what an action was spent on in a domain, since its arms were last put on trial."""
    action, since = arms[0].action, {arm.lack: arm.since for arm in arms}
    if action == SEARCH:
        found = _searched(run, number, key, costs)
    else:
        found = _made(run, number, key, action)
    return [
        each
        for each in found
        if each.lack in since and (not each.round or each.round >= since[each.lack])
    ]


def _searched(run: Run, number: int, key: DomainKey, costs: Mapping[int, float]) -> list[Spent]:
    return [
        Spent(sample_id, lack, round, costs[sample_id])
        for round in range(1, number + 1)
        for sample_id, why in _reasons(run, round, key).items()
        if (lack := picked_for(why)) and sample_id in costs
    ]


def _made(run: Run, number: int, key: DomainKey, generator: str) -> list[Spent]:
    rows = of_domain(standings_of(run, number), key).to_pylist()
    return [
        Spent(row["sample_id"], made_for(row["gap"], row["made_for"]), row["round"], row["cost"])
        for row in rows
        if row["generator"] == generator and row["standing"] in (*VALIDATED, "admitted")
    ]


def _reasons(run: Run, round: int, key: DomainKey) -> dict[int, str]:
    """Return why people were asked about each sample of a domain in a round, but for audits."""
    batch = of_domain(run.storage.read_table(f"{round_folder(round)}/batch.parquet"), key)
    batch = batch.filter(pa.array(~batch["audit"].to_numpy(zero_copy_only=False)))
    return dict(zip(batch["sample_id"].to_pylist(), batch["why"].to_pylist(), strict=True))


def _rounds(spent: Sequence[Spent], arms: Sequence[Arm]) -> dict[str, int]:
    """Return in how many rounds something was spent on each arm."""
    rounds = {(each.lack, each.round) for each in spent if each.round}
    return {arm.lack: sum(lack == arm.lack for lack, _ in rounds) for arm in arms}


def _bought(
    run: Run,
    number: int,
    key: DomainKey,
    examples: Examples,
    spent: Sequence[Spent],
    lacking: Mapping[str, Bools],
) -> Bought:
    """Compare what an action brought with plain labels of the same rounds."""
    plain = [
        sample_id
        for round in sorted({each.round for each in spent if each.round})
        for sample_id, why in _reasons(run, round, key).items()
        if is_selected(why)
    ]
    return Bought(
        brought_N=np.isin(examples.ids_N, [each.sample_id for each in spent]),
        cost=sum(each.cost for each in spent),
        plain_N=np.isin(examples.ids_N, plain),
        overall_N=_real(examples, key),
        lacking=lacking,
    )


def _real(examples: Examples, key: DomainKey) -> Bools:
    """Return which examples are real samples of a domain."""
    own_N: Bools = (examples.domains_N == key.domain) & (
        np.arange(len(examples)) < len(examples.real)
    )
    return own_N


def _lacking(
    run: Run, number: int, key: DomainKey, examples: Examples, x_ND: FloatArray
) -> dict[str, Bools]:
    """Return which real samples of a domain are of what it lacked when the round began."""
    found = gaps_after(run, run.newest(number)).domains[str(key)]
    own_N, kind = _real(examples, key), run.kinds[key.task]
    counts = [kind.counts([text]) for text in examples.texts_N]
    lacks = {
        class_name(label): own_N & np.array([label in each for each in counts])
        for label in found.rare
    }
    if found.sought:
        clusters_N = nearest(x_ND, read_centers(run.storage, found.centers))
        lacks |= {
            pattern_name(gap.id): own_N & np.isin(clusters_N, gap.clusters) for gap in found.sought
        }
    return lacks


def _labels(
    run: Run,
    number: int,
    task: str,
    examples: Examples,
    encoder: str,
    costs: Mapping[int, float],
) -> Labels:
    """Return what heads may learn from; nothing that was made from a sample teaches about it."""
    folds_N, n = _folds(examples.ids_N), len(examples)
    taught_NF = folds_N[:, None] != np.arange(FOLDS)
    weights_N = np.ones(n, np.float32)
    if examples.synthetic is not None:
        weights_N = examples.synthetic.weights_N
        rows = standings_of(run, number).select(["sample_id", "exemplars"]).to_pylist()
        made_from = {row["sample_id"]: row["exemplars"] for row in rows}
        for row in range(examples.synthetic.real, n):
            exemplars = np.array(made_from[int(examples.ids_N[row])], np.int64)
            taught_NF[row] = ~np.isin(np.arange(FOLDS), _folds(exemplars))
    return Labels(
        x_ND=examples.features[encoder],
        targets=examples.targets,
        strata_N=run.kinds[task].strata(examples.texts_N),
        weights_N=weights_N,
        cost_N=np.array([costs.get(each, 0.0) for each in examples.ids_N.tolist()]),
        folds_N=folds_N,
        taught_NF=taught_NF,
    )


def _folds(ids_N: IntArray) -> IntArray:
    folds_N: IntArray = (uniform(ids_N, 0, "refill") * FOLDS).astype(np.int64)
    return folds_N
