"""What the contents of a split mean for a campaign: what would stop it, and what to know."""

from collections import Counter
from collections.abc import Iterator

from umc_ray.console import counted, first_of
from umc_ray.ingest.groups import problem_of_groups
from umc_ray.ingest.inspection import Inspection
from umc_ray.ingest.layouts.registry import layout_note
from umc_ray.ingest.sources import Listing
from umc_ray.ingest.validate import Rules
from umc_ray.tasks.forms import NONE
from umc_ray.tasks.task import TaskKind

MAX_SPELLINGS = 5  # unknown labels that are named
LABELS_SHOWN = 12  # of which there is no sample
EXTREME = 50  # times the median length


def split_problems(found: Inspection, max_bad_share: float) -> Iterator[str]:
    """Say what would stop the ingest of a split."""
    reasons = ", ".join(f"{count:,} x {kind}" for kind, count in found.reasons.most_common())
    for example in [each for examples in found.examples.values() for each in examples][:1]:
        reasons += f"; the first: {example}"
    if not found.usable:
        why = "all are in test splits" if found.checked else "the sources are empty"
        yield f"no usable row among {found.checked:,}: {reasons or why}"
    elif found.bad_share > max_bad_share:
        allowed = f"ingest.max_bad_share allows {max_bad_share:.1%}"
        yield f"{found.bad_share:.1%} of the rows are bad, {allowed}: {reasons}"
    problems = (problem_of_groups(name, values) for name, values in found.groups.items())
    yield from (each for each in problems if each is not None)


def split_notes(found: Inspection, rules: Rules) -> Iterator[str]:
    """Say what a user should know of a split."""
    yield from _about_duplicates(found)
    yield from _about_labels(found, rules)
    for name, count in found.encodings.items():
        if name != "utf-8":
            yield f"{count} x files are {name}"
    if found.lengths is not None and found.lengths.longest > EXTREME * found.lengths.median:
        longest, times = found.lengths, found.lengths.longest // max(1, found.lengths.median)
        yield f"a text of {longest.longest:,} characters, {times} x the median: {longest.example}"
    yield from map(str, found.notes)


def listing_notes(listing: Listing, rules: Rules) -> Iterator[str]:
    """Say what a user should know of the files, but for the layouts, which have their own line."""
    told = {layout_note(layout) for layout in rules.layouts}
    for what, count in listing.notes.most_common():
        if what not in told:
            yield f"{count} x {what}"


def _about_duplicates(found: Inspection) -> Iterator[str]:
    if found.leaks:
        rows = counted(found.leaks, "row")
        yield f"in a test split of the task, too, so left out of the pool: {rows}"
    if found.near_leaks:
        texts = counted(found.near_leaks, "text")
        yield (
            "in a test split of the task, too, but for case, punctuation and spaces, so left in "
            f"the pool: {texts}"
        )
    if found.conflicts:
        yield f"{found.conflicts:,} x duplicates with different labels: the first label counts"


def _about_labels(found: Inspection, rules: Rules) -> Iterator[str]:
    for name, count in found.unknown_labels.most_common(MAX_SPELLINGS):
        yield f"label {name} is none of the campaign's: {count:,} rows count as unlabeled"
    if (more := len(found.unknown_labels) - MAX_SPELLINGS) > 0:
        yield f"{more:,} more labels are none of the campaign's"
    there = counts_by_label(found, rules.kind)
    if found.unknown_labels and not there:
        yield "no row has a label of the campaign: compare the labels, or the column, with the data"
    absent = [label for label in rules.kind.labels if label not in there]
    if there and absent:
        yield f"no sample of {first_of(absent, LABELS_SHOWN)}"


def counts_by_label(found: Inspection, kind: TaskKind) -> Counter[str]:
    """Count the usable rows of each label; one row may have several."""
    form, counts = kind.form(), Counter[str]()
    if not form.multiple:
        return Counter(found.labels)
    for answer, count in found.labels.items():
        counts.update(dict.fromkeys(form.chosen(answer) or [NONE], count))
    return counts
