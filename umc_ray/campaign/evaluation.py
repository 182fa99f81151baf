"""How good the specialists are: on the audit set, on held-out tests, by domain.

Quality is never estimated from samples that were chosen for being hard.

Suffixes: N examples, A audit samples of a domain.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa

from umc_ray.campaign.documents import Audit, DomainMetrics, RoundMetrics
from umc_ray.config.campaign import CertificateConfig
from umc_ray.diversity.gaps import AuditErrors
from umc_ray.methods.certificates import Certificate, certify
from umc_ray.methods.intervals import mean_interval
from umc_ray.records import DomainKey, FloatArray, IntArray, Part
from umc_ray.selection.selection_test import SelectionVerdict
from umc_ray.specialists.combination import Trained
from umc_ray.specialists.specialist import Examples
from umc_ray.storage import Storage
from umc_ray.tasks.quality import Estimate, Quality
from umc_ray.tasks.task import TaskKind


def audit_metrics(
    trained: Trained, examples: Examples, task: str, kind: TaskKind
) -> dict[str, Audit]:
    """Measure each domain's mean utility on its audit samples by held-out predictions."""
    return {
        name: Audit(len(utility_A), Estimate(*mean_interval(utility_A)))
        for name, _, utility_A in _audited(trained, examples, task, kind)
    }


def audit_errors(
    trained: Trained, examples: Examples, task: str, kind: TaskKind
) -> dict[str, AuditErrors]:
    """Return what held-out predictions lack on each audit sample, by domain."""
    return {
        name: AuditErrors(ids_A.tolist(), (1 - utility_A).tolist())
        for name, ids_A, utility_A in _audited(trained, examples, task, kind)
    }


def _audited(
    trained: Trained, examples: Examples, task: str, kind: TaskKind
) -> Iterator[tuple[str, IntArray, FloatArray]]:
    """Return the ids and utilities of each domain's audit samples, if it has some."""
    utility_N = kind.utility(trained.predicted_N, examples.texts_N)
    for domain in np.unique(examples.domains_N):
        rows_N = (examples.domains_N == domain) & examples.audit_N
        if rows_N.any():
            yield f"{task}/{domain}", examples.ids_N[rows_N], utility_N[rows_N]


def certificate(
    trained: Trained, examples: Examples, kind: TaskKind, config: CertificateConfig
) -> Certificate | None:
    """Certify a threshold for labels by a task's ensemble, by held-out predictions of its audits.

    A label is wrong unless it is right, as its kind counts. The ensemble itself has seen a few
    labels more than those predictions. Domains count as they were audited: the guarantee is for new
    samples that are of them in the same shares.
    """
    right_N = kind.utility(trained.predicted_N, examples.texts_N) >= kind.right_from
    audit_N = examples.audit_N
    return certify(
        trained.certainty_N[audit_N], right_N[audit_N], config.max_error, config.confidence
    )


def test_metrics(
    storage: Storage, scores: str, parts: Sequence[Part], kinds: Mapping[str, TaskKind]
) -> dict[str, Quality]:
    """Compare the scores of the test splits with their labels, by domain."""
    tests: dict[DomainKey, list[Part]] = {}
    for part in parts:
        if part.split == "test":
            tests.setdefault(part.domain_key, []).append(part)
    return {str(key): _test(storage, scores, own, kinds[key.task]) for key, own in tests.items()}


def _test(storage: Storage, scores: str, parts: Sequence[Part], kind: TaskKind) -> Quality:
    tables = [
        storage.read_table(part.key(f"{scores}/scores")).replace_schema_metadata() for part in parts
    ]
    targets = [storage.read_table(part.key("oracle"), ["label"])["label"] for part in parts]
    rows, truth = pa.concat_tables(tables), pa.chunked_array([c for t in targets for c in t.chunks])
    # What no encoder could read has no prediction.
    readable = pa.array(np.isfinite(rows[next(iter(kind.measures_about))].to_numpy()))
    return kind.quality(rows.filter(readable), truth.filter(readable).to_pylist())


def summary(
    labels: pa.Table,
    domain_keys: Sequence[DomainKey],
    uncertainty: Mapping[str, float],
    audits: Mapping[str, Audit],
    tests: Mapping[str, Quality],
    selection_tests: Mapping[str, SelectionVerdict],
) -> RoundMetrics:
    """Sum up a campaign so far: labels, cost and quality of each domain, and over all of them.

    `audit_utility` and `test_utility` are means over the domains that have one; None if none has.
    """
    spent: dict[str, list[float]] = {str(key): [] for key in domain_keys}
    for row in labels.select(["task", "domain", "cost"]).to_pylist():
        spent[f"{row['task']}/{row['domain']}"].append(row["cost"])
    domains = {
        name: DomainMetrics(
            labels=len(costs),
            cost=float(sum(costs)),
            uncertainty=uncertainty.get(name),
            audit=audits.get(name),
            test=tests.get(name),
            selection_test=selection_tests.get(name),
        )
        for name, costs in spent.items()
    }
    return RoundMetrics(
        labels=labels.num_rows,
        cost=sum(each.cost for each in domains.values()),
        domains=domains,
        audit_utility=_mean([each.utility for each in audits.values()]),
        test_utility=_mean([each.utility for each in tests.values()]),
    )


def with_validation(metrics: RoundMetrics, standings: pa.Table) -> RoundMetrics:
    """Add what people's validation of synthetic samples has cost so far."""
    rows = [row for row in standings.to_pylist() if row["round"] > 0]
    domains = {
        name: replace(
            each,
            cost=each.cost + sum(r["cost"] for r in rows if f"{r['task']}/{r['domain']}" == name),
        )
        for name, each in metrics.domains.items()
    }
    cost = metrics.cost + sum(row["cost"] for row in rows)
    return replace(metrics, domains=domains, cost=cost, validated=len(rows))


def _mean(utilities: Sequence[Estimate]) -> float | None:
    return float(np.mean([each.value for each in utilities])) if utilities else None
