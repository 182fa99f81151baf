"""What became of the rows of the sources: kept, duplicates, leaks, quarantine."""

from collections import Counter
from dataclasses import dataclass

from umc_ray.pipeline.ingest import Manifest, load_manifest
from umc_ray.records import Arm, Split
from umc_ray.run import Run

EXAMPLES = 3  # rows in quarantine that are shown of a domain's split


@dataclass(frozen=True)
class Intake:
    """A domain's pool or test split, with some rows that could not be used."""

    arm: Arm
    split: Split
    manifest: Manifest
    bad: tuple[dict[str, str], ...]


def intakes(run: Run) -> list[Intake]:
    """Read what ingest found in all domains."""
    found = []
    for arm, domain in run.config.domains().items():
        splits: list[Split] = ["pool"] if domain.test is None else ["pool", "test"]
        for split in splits:
            manifest = load_manifest(run.storage, arm, split)
            bad = _bad_rows(run, arm, split) if manifest.bad else []
            found.append(Intake(arm, split, manifest, tuple(bad)))
    return found


def _bad_rows(run: Run, arm: Arm, split: Split) -> list[dict[str, str]]:
    """Read the first rows in quarantine, and no more files than needed."""
    rows: list[dict[str, str]] = []
    for key in run.storage.keys(f"quarantine/{split}/{arm}"):
        rows += run.storage.read_table(key)[: EXAMPLES - len(rows)].to_pylist()
        if len(rows) >= EXAMPLES:
            break
    return rows


def reasons(found: list[Intake]) -> list[tuple[str, int]]:
    """Add up why rows could not be used, the most frequent reason first."""
    total: Counter[str] = Counter()
    for each in found:
        total.update(each.manifest.reasons)
    return total.most_common()
