"""How good the specialists are: on the audit set, on held-out tests, by domain.

Accuracy is never estimated from samples that were chosen for being hard.

Suffixes: N samples, C classes, CC true by predicted.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import pyarrow as pa

from umc_ray.config.campaign import CertificateConfig
from umc_ray.methods.calibration import reliability
from umc_ray.methods.certificates import certify
from umc_ray.records import DomainKey, Part
from umc_ray.selection.selection_test import compare_selection
from umc_ray.specialists.training import Trained, TrainingSet
from umc_ray.storage import Storage

Z_95 = 1.96


def audit_metrics(
    trained: Trained, samples: TrainingSet, task: str
) -> dict[str, dict[str, float | int]]:
    """Measure each domain's accuracy on its audit samples by held-out predictions, per arm."""
    found = {}
    right_N = trained.held_out_NC.argmax(1) == samples.labels_N
    for domain in np.unique(samples.domains_N):
        mine = (samples.domains_N == domain) & samples.audit_N
        if mine.any():
            n, right = int(mine.sum()), int(right_N[mine].sum())
            low, high = wilson_interval(right, n)
            found[f"{task}/{domain}"] = {"n": n, "accuracy": right / n, "low": low, "high": high}
    return found


def held_out_metrics(
    samples: Mapping[str, TrainingSet], trained: Sequence[Trained], rules: CertificateConfig
) -> dict[str, dict[str, Any]]:
    """Return `audits` and `benefit` by arm, and `certificates` by task, of all tasks' ensembles."""
    audits: dict[str, Any] = {}
    selection_test: dict[str, Any] = {}
    certificates: dict[str, Any] = {}
    for (task, labeled), ensemble in zip(samples.items(), trained, strict=True):
        audits |= audit_metrics(ensemble, labeled, task)
        selection_test |= compare_selection(labeled, task, ensemble.held_out_NC.shape[1])
        certificates[task] = certificate(ensemble, labeled, rules)
    return {"audits": audits, "selection_test": selection_test, "certificates": certificates}


def certificate(
    trained: Trained, samples: TrainingSet, config: CertificateConfig
) -> dict[str, Any] | None:
    """Certify a threshold for labels by a task's ensemble, by held-out predictions of its audits.

    The ensemble itself has seen a few labels more than those predictions. Domains count as they
    were audited: the guarantee is for new samples that are of them in the same shares.
    """
    probs_NC = trained.held_out_NC[samples.audit_N]
    right_N = probs_NC.argmax(1) == samples.labels_N[samples.audit_N]
    found = certify(probs_NC.max(1, initial=0), right_N, config.max_error, config.confidence)
    return None if found is None else asdict(found)


def wilson_interval(right: int, n: int) -> tuple[float, float]:
    """Return the 95 % interval of a share of n.

    Source: Wilson 1927, Probable inference, the law of succession, and statistical inference.
    """
    share, z2 = right / n, Z_95**2
    center = (share + z2 / (2 * n)) / (1 + z2 / n)
    spread = Z_95 / (1 + z2 / n) * np.sqrt(share * (1 - share) / n + z2 / (4 * n * n))
    return float(center - spread), float(center + spread)


def test_metrics(
    storage: Storage, scores: str, parts: Sequence[Part], classes: Mapping[str, Sequence[str]]
) -> dict[str, dict[str, Any]]:
    """Compare the scores of the test splits with their labels, per arm."""
    tests: dict[DomainKey, list[Part]] = {}
    for part in parts:
        if part.split == "test":
            tests.setdefault(part.domain_key, []).append(part)
    return {
        str(domain_key): _test(storage, scores, domain_parts, classes[domain_key.task])
        for domain_key, domain_parts in tests.items()
    }


def _test(
    storage: Storage, scores: str, parts: Sequence[Part], classes: Sequence[str]
) -> dict[str, Any]:
    predicted, truth, probs = [], [], []
    for part in parts:
        table = storage.read_table(part.key(f"{scores}/scores"), ["label_1", "prob_1"])
        oracle = storage.read_table(part.key("oracle"), ["label"])
        predicted.append(table["label_1"].to_numpy())
        probs.append(table["prob_1"].to_numpy())
        truth.append([classes.index(label) for label in oracle["label"].to_pylist()])
    top_N = np.concatenate(probs)
    readable = np.isfinite(top_N)  # what no encoder could read has no prediction
    top_N = top_N[readable]
    predicted_N = np.concatenate(predicted).astype(np.int64)[readable]
    truth_N = np.concatenate(truth).astype(np.int64)[readable]
    confusion_CC = np.zeros((len(classes), len(classes)), dtype=int)
    np.add.at(confusion_CC, (truth_N, predicted_N), 1)
    calibration = reliability(top_N, predicted_N == truth_N)
    return {
        "n": len(truth_N),
        "accuracy": float((predicted_N == truth_N).mean()),
        "ece": calibration.error(),
        "reliability": asdict(calibration),
        "confusion": confusion_CC.tolist(),
    }


def summary(
    labels: pa.Table,
    domain_keys: Sequence[DomainKey],
    uncertainty: Mapping[str, float],
    audits: Mapping[str, dict[str, Any]],
    tests: Mapping[str, dict[str, Any]],
    selection_test: Mapping[str, dict[str, Any]],
) -> dict[str, Any]:
    """Sum up a campaign so far: labels, cost and accuracy of each domain, and over all of them.

    Accuracies are macro averages over the domains that have one; None if none has.
    """
    spent: dict[str, list[float]] = {str(domain_key): [] for domain_key in domain_keys}
    for row in labels.select(["task", "domain", "cost"]).to_pylist():
        spent[f"{row['task']}/{row['domain']}"].append(row["cost"])
    by_domain = {}
    for domain_key in domain_keys:
        by_domain[str(domain_key)] = {
            "labels": len(spent[str(domain_key)]),
            "cost": sum(spent[str(domain_key)]),
            "uncertainty": uncertainty.get(str(domain_key)),
            "audit": audits.get(str(domain_key)),
            "test": tests.get(str(domain_key)),
            "selection_test": selection_test.get(str(domain_key)),
        }
    return {
        "rows": labels.num_rows,
        "labels": labels.num_rows,
        "cost": sum(each["cost"] for each in by_domain.values()),
        "domains": by_domain,
        "audit_accuracy": _macro(audits),
        "test_accuracy": _macro(tests),
    }


def _macro(found: Mapping[str, dict[str, Any]]) -> float | None:
    return float(np.mean([each["accuracy"] for each in found.values()])) if found else None
