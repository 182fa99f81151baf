"""What ingest did with the rows of the sources: kept, duplicates, leaks, quarantine."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from umc_ray.config.campaign import CampaignConfig
from umc_ray.console import counted
from umc_ray.ingest.manifest import Manifest, is_ingested, load_manifest
from umc_ray.records import DomainKey, Split
from umc_ray.storage import Storage

EXAMPLES = 3  # rows in quarantine that are shown per domain and split


@dataclass(frozen=True)
class IngestReport:
    """A domain's pool or test split, with examples of rejected rows."""

    domain_key: DomainKey
    split: Split
    manifest: Manifest
    rejected: tuple[dict[str, str], ...]


def ingest_reports(storage: Storage, config: CampaignConfig) -> list[IngestReport]:
    """Read the ingest reports of all domains."""
    reports = []
    for domain_key, split in _ingested(storage, config):
        manifest = load_manifest(storage, domain_key, split)
        rejected = _rejected_rows(storage, domain_key, split) if manifest.bad else []
        reports.append(IngestReport(domain_key, split, manifest, tuple(rejected)))
    return reports


def ingest_lines(storage: Storage, config: CampaignConfig) -> list[str]:
    """Say how many rows cannot be used, and why; then how the sources were read."""
    manifests = {
        f"{domain_key} {split}": load_manifest(storage, domain_key, split)
        for domain_key, split in _ingested(storage, config)
    }
    bad = [f"{name}: {_quarantined(each)}" for name, each in manifests.items() if each.bad]
    return [*bad, *(f"{name}: {note}" for name, each in manifests.items() for note in each.notes)]


def _quarantined(manifest: Manifest) -> str:
    most_first = sorted(manifest.reasons.items(), key=lambda item: (-item[1], item[0]))
    reasons = ", ".join(f"{count} x {reason}" for reason, count in most_first)
    return f"{counted(manifest.bad, 'row')} in quarantine: {reasons}"


def _ingested(storage: Storage, config: CampaignConfig) -> list[tuple[DomainKey, Split]]:
    """Return the pools, test splits and target sets that have been read so far."""
    pairs = [(key, split) for key, domain in config.domains().items() for split in domain.splits]
    return [(each, split) for each, split in pairs if is_ingested(storage, each, split)]


def _rejected_rows(storage: Storage, domain_key: DomainKey, split: Split) -> list[dict[str, str]]:
    """Read the first rows in quarantine, and no more files than necessary."""
    rows: list[dict[str, str]] = []
    for key in storage.keys(f"quarantine/{split}/{domain_key}"):
        rows += storage.read_table(key)[: EXAMPLES - len(rows)].to_pylist()
        if len(rows) >= EXAMPLES:
            break
    return rows


def reason_counts(reports: Sequence[IngestReport]) -> list[tuple[str, int]]:
    """Count the rejected rows by reason, most frequent first."""
    total: Counter[str] = Counter()
    for report in reports:
        total.update(report.manifest.reasons)
    return total.most_common()
