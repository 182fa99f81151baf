"""What became of the rows of the sources: kept, duplicates, leaks, quarantine."""

from collections import Counter
from dataclasses import dataclass

from umc_ray.campaign.run import Run
from umc_ray.ingest.ingest import Manifest, load_manifest
from umc_ray.records import DomainKey, Split

EXAMPLES = 3  # rows in quarantine that are shown of a domain's split


@dataclass(frozen=True)
class IngestReport:
    """A domain's pool or test split, with some rows that could not be used."""

    domain_key: DomainKey
    split: Split
    manifest: Manifest
    bad: tuple[dict[str, str], ...]


def ingest_reports(run: Run) -> list[IngestReport]:
    """Read what ingest found in all domains."""
    found = []
    for domain_key, domain in run.config.domains().items():
        splits: list[Split] = ["pool"] if domain.test is None else ["pool", "test"]
        for split in splits:
            manifest = load_manifest(run.storage, domain_key, split)
            bad = _bad_rows(run, domain_key, split) if manifest.bad else []
            found.append(IngestReport(domain_key, split, manifest, tuple(bad)))
    return found


def _bad_rows(run: Run, domain_key: DomainKey, split: Split) -> list[dict[str, str]]:
    """Read the first rows in quarantine, and no more files than needed."""
    rows: list[dict[str, str]] = []
    for key in run.storage.keys(f"quarantine/{split}/{domain_key}"):
        rows += run.storage.read_table(key)[: EXAMPLES - len(rows)].to_pylist()
        if len(rows) >= EXAMPLES:
            break
    return rows


def reasons(found: list[IngestReport]) -> list[tuple[str, int]]:
    """Add up why rows could not be used, the most frequent reason first."""
    total: Counter[str] = Counter()
    for each in found:
        total.update(each.manifest.reasons)
    return total.most_common()
