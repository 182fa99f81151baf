"""What ingest did with the rows of the sources: kept, duplicates, leaks, quarantine."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from umc_ray.campaign.state import RunState
from umc_ray.console import counted
from umc_ray.ingest.manifest import Manifest, is_ingested, load_manifest
from umc_ray.records import DomainKey, Split

EXAMPLES = 3  # rows in quarantine that are shown per domain and split


@dataclass(frozen=True)
class IngestReport:
    """A domain's pool or test split, with examples of rejected rows."""

    domain_key: DomainKey
    split: Split
    manifest: Manifest
    rejected: tuple[dict[str, str], ...]


def ingest_reports(run: RunState) -> list[IngestReport]:
    """Read the ingest reports of all domains."""
    reports = []
    for domain_key, split in _ingested(run):
        manifest = load_manifest(run.storage, domain_key, split)
        rejected = _rejected_rows(run, domain_key, split) if manifest.bad else []
        reports.append(IngestReport(domain_key, split, manifest, tuple(rejected)))
    return reports


def note_lines(run: RunState) -> list[str]:
    """Say how the sources were read, where something had to be decided."""
    lines = []
    for domain_key, split in _ingested(run):
        notes = load_manifest(run.storage, domain_key, split).notes
        lines += [f"{domain_key} {split}: {note}" for note in notes]
    return lines


def quarantine_lines(run: RunState) -> list[str]:
    """Say how many rows cannot be used, and why."""
    lines = []
    for domain_key, split in _ingested(run):
        manifest = load_manifest(run.storage, domain_key, split)
        most_first = sorted(manifest.reasons.items(), key=lambda item: (-item[1], item[0]))
        reasons = ", ".join(f"{count} x {reason}" for reason, count in most_first)
        if manifest.bad:
            rows = counted(manifest.bad, "row")
            lines.append(f"{domain_key} {split}: {rows} in quarantine: {reasons}")
    return lines


def _ingested(run: RunState) -> list[tuple[DomainKey, Split]]:
    """Return the pools, test splits and target sets that have been read so far."""
    pairs = [
        (key, split) for key, domain in run.config.domains().items() for split in domain.splits
    ]
    return [(each, split) for each, split in pairs if is_ingested(run.storage, each, split)]


def _rejected_rows(run: RunState, domain_key: DomainKey, split: Split) -> list[dict[str, str]]:
    """Read the first rows in quarantine, and no more files than necessary."""
    rows: list[dict[str, str]] = []
    for key in run.storage.keys(f"quarantine/{split}/{domain_key}"):
        rows += run.storage.read_table(key)[: EXAMPLES - len(rows)].to_pylist()
        if len(rows) >= EXAMPLES:
            break
    return rows


def reason_counts(reports: Sequence[IngestReport]) -> list[tuple[str, int]]:
    """Count the rejected rows by reason, most frequent first."""
    total: Counter[str] = Counter()
    for report in reports:
        total.update(report.manifest.reasons)
    return total.most_common()
