"""Measure each round how groups of samples fare: in quality, in labels, and with annotators.

Quality is measured on audit samples by held-out predictions, and on test data. Selected samples say
nothing of a group: those of one may be harder than those of another.
"""

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from umc_ray.annotation.store import Answer
from umc_ray.campaign.documents import (
    AnnotatorBias,
    DomainFairness,
    Fairness,
    GroupDisagreement,
    GroupShare,
    Representation,
    ThresholdEffect,
    Training,
)
from umc_ray.campaign.run import Run
from umc_ray.campaign.state import round_folder
from umc_ray.ingest.groups import count_groups, group_names, read_groups
from umc_ray.methods.fairness import Difference, accuracy_gap, representation_gap
from umc_ray.methods.intersections import count_by_group, groupings, intersect
from umc_ray.methods.intervals import mean_interval
from umc_ray.records import DomainKey, IntArray, Part
from umc_ray.selection.gather import gather
from umc_ray.selection.labeled import labels_so_far, of_domain
from umc_ray.selection.random_orders import audit_prefix, random_orders_key
from umc_ray.specialists.combination import Trained
from umc_ray.specialists.ensemble import decision_key
from umc_ray.specialists.specialist import Examples
from umc_ray.storage import Storage
from umc_ray.tasks.decisions import group_key
from umc_ray.tasks.group_quality import Attributes, GroupComparison, Predicted
from umc_ray.tasks.quality import Estimate
from umc_ray.tasks.task import TaskKind, agreement

Groups = Mapping[DomainKey, Sequence[str]]
"""The attributes of each domain."""


def compare_audits(
    trained: Trained,
    examples: Examples,
    kind: TaskKind,
    groups: Groups,
    smallest: int,
) -> dict[str, list[GroupComparison]]:
    """Compare groups on the audit samples of each domain by held-out predictions."""
    found = {}
    for domain_key, names in groups.items():
        own_N = (examples.domains_N == domain_key.domain) & examples.audit_N
        if names and own_N.any():
            rows = np.flatnonzero(own_N)
            predicted = Predicted(
                kind=kind,
                predicted_N=[trained.predicted_N[row] for row in rows],
                targets_N=[examples.texts_N[row] for row in rows],
                certainty_N=trained.certainty_N[rows],
            )
            attributes = {name: examples.groups[name][rows] for name in names}
            found[str(domain_key)] = predicted.compare(attributes, smallest)
    return found


def measure_fairness(run: Run, number: int, training: Training) -> Fairness:
    """Measure all domains that name groups."""
    labels = labels_so_far(run.storage, run.folders(number))
    excluded = run.excluded(number)
    found = {}
    for domain_key, domain in run.config.domains().items():
        if domain.groups:
            orders = run.storage.read_table(random_orders_key(domain_key, run.order_size))
            audits = audit_prefix(orders, excluded[domain_key])
            own = of_domain(labels, domain_key)
            found[str(domain_key)] = DomainFairness(
                audit=training.audit_groups.get(str(domain_key), []),
                test=_compare_tests(run, number, domain_key, training),
                representation=_representation(run, domain_key, own),
                annotators=_annotators(run, number, domain_key, of_samples(own, audits)),
                thresholds=_thresholds(run, number, domain_key, training),
            )
    return Fairness(found)


def _representation(run: Run, domain_key: DomainKey, labels: pa.Table) -> list[Representation]:
    names, parts = run.config.domains()[domain_key].groups, run.pool(domain_key)
    return representation(
        names,
        count_groups(run.storage, parts, names),
        _attributes(run, domain_key, labels),
        run.config.fairness.smallest_group,
    )


def _annotators(
    run: Run, number: int, domain_key: DomainKey, audited: pa.Table
) -> list[AnnotatorBias]:
    answers = [
        each
        for each in run.store.answers(run.config.name)
        if 0 < each.round <= number and each.task == domain_key.task
    ]
    attributes = _attributes(run, domain_key, audited)
    smallest = run.config.fairness.smallest_group
    return annotator_bias(run.kinds[domain_key.task], answers, audited, attributes, smallest)


def _attributes(run: Run, domain_key: DomainKey, places: pa.Table) -> Attributes:
    """Read the groups of samples of a domain's pool."""
    names = run.config.domains()[domain_key].groups
    return group_names(gather(run.storage, run.pool(domain_key), "kept", places, names))


def of_samples(table: pa.Table, ids: IntArray) -> pa.Table:
    """Return the rows of some samples."""
    return table.filter(pa.array(np.isin(table["sample_id"].to_numpy(), ids)))


def _compare_tests(
    run: Run, number: int, domain_key: DomainKey, training: Training
) -> list[GroupComparison]:
    """Compare groups on a domain's test data."""
    found = _predicted_tests(run, number, domain_key, training)
    smallest = run.config.fairness.smallest_group
    return [] if found is None else found[0].compare(found[1], smallest)


def _predicted_tests(
    run: Run, number: int, domain_key: DomainKey, training: Training, common: bool = False
) -> tuple[Predicted, Attributes] | None:
    """Return the predictions of a domain's test data, which the round has scored, and its groups.

    `common`: by the common threshold, where groups have their own.
    """
    parts = [p for p in run.parts if p.split == "test" and p.domain_key == domain_key]
    if not parts or domain_key.task not in training.ensembles:
        return None
    kind, names = run.kinds[domain_key.task], run.config.domains()[domain_key].groups
    rows = _concatenated(run.storage, parts, f"{round_folder(number)}/scores")
    targets = _concatenated(run.storage, parts, "oracle")["label"]
    groups = [read_groups(run.storage, part, names) for part in parts]
    # What no encoder could read has no prediction.
    readable_N = np.isfinite(rows[next(iter(kind.measures_about))].to_numpy())
    rows = rows.filter(pa.array(readable_N))
    predicted_N, certainty_N = kind.predicted(by_common_threshold(rows) if common else rows)
    predicted = Predicted(
        kind=kind,
        predicted_N=predicted_N,
        targets_N=targets.filter(pa.array(readable_N)).to_pylist(),
        certainty_N=np.array(certainty_N, np.float32),
    )
    attributes = {name: np.concatenate([g[name] for g in groups])[readable_N] for name in names}
    return predicted, attributes


def by_common_threshold(rows: pa.Table) -> pa.Table:
    """Return scores of two classes with the more probable one first."""
    swaps = pc.greater(rows["prob_2"], rows["prob_1"])
    columns = {}
    for name in ("label", "prob"):
        first, second = rows[f"{name}_1"], rows[f"{name}_2"]
        columns[f"{name}_1"] = pc.if_else(swaps, second, first)
        columns[f"{name}_2"] = pc.if_else(swaps, first, second)
    return pa.table({name: columns.get(name, rows[name]) for name in rows.column_names})


def _thresholds(
    run: Run, number: int, domain_key: DomainKey, training: Training
) -> ThresholdEffect | None:
    """Compare what is predicted of a domain's test data with the common threshold of all groups."""
    if not run.config.fairness.thresholds:
        return None
    found = [_predicted_tests(run, number, domain_key, training, each) for each in (True, False)]
    (utility_before, odds_before), (utility, odds) = (
        _worth(each, run.config.fairness.smallest_group) for each in found
    )
    if utility_before is None or utility is None:
        return None
    decision = run.storage.read_json(decision_key(training.ensembles[domain_key.task].folder))
    prefix = group_key(domain_key.domain, "")
    shifts = decision.get("groups", {}).items()
    own = {key.removeprefix(prefix): shift for key, shift in shifts if key.startswith(prefix)}
    return ThresholdEffect(own, utility_before, utility, odds_before, odds)


def _worth(
    found: tuple[Predicted, Attributes] | None, smallest: int
) -> tuple[Estimate | None, Difference | None]:
    """Return how often predictions are right, and how far odds differ between intersections."""
    if found is None:
        return None, None
    predicted, attributes = found
    right_N = predicted.kind.utility(predicted.predicted_N, predicted.targets_N)
    odds = predicted.compare(attributes, smallest)[-1].equalized_odds
    return Estimate(*mean_interval(right_N)), odds


def _concatenated(storage: Storage, parts: Sequence[Part], table: str) -> pa.Table:
    tables = [storage.read_table(part.key(table)) for part in parts]
    return pa.concat_tables([each.replace_schema_metadata() for each in tables])


def representation(
    names: Sequence[str],
    pool: Mapping[tuple[str, ...], int],
    labeled: Attributes,
    smallest: int,
) -> list[Representation]:
    """Compare the groups' shares of the labels with those of the pool.

    Args:
        names: of the attributes.
        pool: how many samples of the pool have these values of them.
        labeled: the groups of the labeled samples.
        smallest: samples of the pool below which groups count together.
    """
    with_label = Counter(zip(*(labeled[name].tolist() for name in names), strict=True))
    found = []
    for by, places in groupings(names).items():
        counts = count_by_group(pool, with_label, places, smallest)
        shares = [GroupShare(name, *each) for name, each in counts.items()]
        counts_G2 = np.array(list(counts.values()), np.int64).reshape(-1, 2)
        found.append(Representation(by, shares, representation_gap(*counts_G2.T)))
    return found


def annotator_bias(
    kind: TaskKind,
    answers: Sequence[Answer],
    audited: pa.Table,
    attributes: Attributes,
    smallest: int,
) -> list[AnnotatorBias]:
    """Compare how often people disagree with the consensus, by group of the sample.

    Only audit samples with several votes count, each by the mean over its votes.

    Args:
        kind: of the task.
        answers: to its questions.
        audited: the labels of the audit samples of a domain.
        attributes: the groups of these samples.
        smallest: samples below which groups count together.
    """
    disagreement_N = _disagreement(kind, answers, audited)
    voted_N = np.isfinite(disagreement_N)
    if not voted_N.any():
        return []
    values = [each[voted_N] for each in attributes.values()]
    disagreement_N = disagreement_N[voted_N]
    found = []
    for by, places in groupings(list(attributes)).items():
        groups = intersect([values[place] for place in places], smallest)
        own = [disagreement_N[groups.codes_N == code] for code in range(len(groups.names))]
        found.append(
            AnnotatorBias(
                by,
                [
                    GroupDisagreement(name, len(each), Estimate(*mean_interval(each)))
                    for name, each in zip(groups.names, own, strict=True)
                ],
                accuracy_gap(groups.codes_N, disagreement_N),
            )
        )
    return found


def _disagreement(
    kind: TaskKind, answers: Sequence[Answer], labels: pa.Table
) -> npt.NDArray[np.float64]:
    """Return how far the votes on each sample miss its label; NaN where it has fewer than two."""
    votes: dict[int, list[str]] = {}
    for answer in answers:
        if answer.label is not None:
            votes.setdefault(answer.sample_id, []).append(answer.label)
    rows = zip(labels["sample_id"].to_pylist(), labels["label"].to_pylist(), strict=True)
    return np.array(
        [
            1 - agreement(kind, label, given) if len(given := votes.get(i, [])) > 1 else np.nan
            for i, label in rows
        ],
        np.float64,
    )
