"""What `umc check` prints: each pool and test split, each encoder, then notes and problems."""

from collections import Counter
from collections.abc import Iterator, Mapping

import psutil

from umc_ray.campaign.check import CampaignCheck, EncoderCheck, SplitCheck
from umc_ray.campaign.check_findings import counts_by_label
from umc_ray.campaign.check_shifts import ShiftCheck
from umc_ray.config.campaign import CampaignConfig
from umc_ray.console import counted
from umc_ray.ingest.inspection import Inspection

SHOWN = 12  # labels, sizes or modes on one line
EXAMPLES, SNIPPET = 3, 60  # answers, and characters of each
DRIVER_BYTES = 100  # that ingest needs for each row of a domain


def check_lines(check: CampaignCheck, config: CampaignConfig) -> Iterator[str]:
    """Say everything that was found, what stops the campaign last."""
    for split in check.splits:
        yield from _split_lines(split, config)
    for shift in check.shifts:
        yield from _shift_lines(shift, config)
    for encoder in check.encoders:
        yield from _encoder_lines(encoder, config)
    if check.splits:
        yield from _size_lines(check)
    if not all(split.inspection.is_complete for split in check.splits):
        yield "counts are of the rows that were checked; umc check --all checks every row"
    yield from _listed("notes", check.notes)
    yield from _listed("problems: each of these stops the campaign", check.problems)


def _listed(title: str, lines: tuple[str, ...]) -> Iterator[str]:
    if lines:
        yield title
        yield from (f"  - {line}" for line in lines)


def _split_lines(split: SplitCheck, config: CampaignConfig) -> Iterator[str]:
    found = split.inspection
    kind = config.tasks[split.domain_key.task].task_kind()
    domains = config.tasks[split.domain_key.task].domains.values()
    has_test = split.split == "pool" and any(domain.test is not None for domain in domains)
    yield f"{split.domain_key} {split.split}: {_rows(found)} in {counted(split.files, 'file')}"
    yield from (_line("layout", layout) for layout in split.layouts)
    if kind.labels:
        labels = counts_by_label(found, kind)
        labels["(unlabeled)"] = found.unlabeled
        yield _line("labels", _counts(labels))
    else:
        yield _line("answers", _answers(found.labels, found.unlabeled))
    yield _line("duplicates", _duplicates(found, has_test))
    yield from _form_lines(found)
    yield from _quarantine_lines(found)


def _shift_lines(shift: ShiftCheck, config: CampaignConfig) -> Iterator[str]:
    rows, usable = shift.rows, len(shift.rows.usable)
    drawn = f"{usable + len(rows.rejected):,} of {counted(rows.read, 'row')} drawn"
    measured = counted(usable - shift.in_pool, "sample")
    yield f"{shift.domain_key} shifted {shift.name}: {drawn}, {measured} to measure on"
    counts = Counter(str(row.label) for row in rows.usable)
    has_labels = bool(config.tasks[shift.domain_key.task].task_kind().labels)
    title = "labels" if has_labels else "answers"
    yield _line(title, _counts(counts) if has_labels else _answers(counts, 0))
    for row in rows.rejected[:1]:
        yield _line("bad rows", f"{len(rows.rejected):,}, such as {row}")


def _form_lines(found: Inspection) -> Iterator[str]:
    """Say in what form texts or images are."""
    if found.encodings:
        yield _line("encodings", _counts(found.encodings))
    if lengths := found.lengths:
        ends = f"{lengths.shortest:,} to {lengths.longest:,}"
        yield _line("characters", f"{ends}, median {lengths.median:,}")
    if forms := found.forms:
        sizes = {f"{width} x {height}": count for (width, height), count in forms.sizes.items()}
        yield _line("sizes", _counts(sizes))
        yield _line("modes", _counts(forms.modes))
        yield _line("formats", _counts(forms.formats))


def _line(title: str, text: str) -> str:
    return f"  {title:<12}{text}"


def _rows(found: Inspection) -> str:
    if found.is_complete:
        return f"{counted(found.rows, 'row')}, all checked,"
    how = "" if found.read == found.rows else "about "
    return f"{how}{counted(found.rows, 'row')}, {found.checked:,} of {found.read:,} checked,"


def _counts(counts: Mapping[str, int]) -> str:
    """List the largest counts, and how many more there are."""
    ordered = sorted(counts.items(), key=lambda item: -item[1])
    shown = ", ".join(f"{name} {count:,}" for name, count in ordered[:SHOWN] if count)
    more = len(ordered) - SHOWN
    return (shown or "none") + (f", and {more:,} more" if more > 0 else "")


def _answers(counts: Mapping[str, int], unlabeled: int) -> str:
    """Say how many answers are known, where each may be another one."""
    shown = ", ".join(
        answer if len(answer) <= SNIPPET else f"{answer[: SNIPPET - 1]}…"
        for answer in list(counts)[:EXAMPLES]
    )
    known = f"{sum(counts.values()):,} known, {len(counts):,} different"
    return f"{known}{f', such as {shown}' if shown else ''}; unlabeled {unlabeled:,}"


def _duplicates(found: Inspection, has_test: bool) -> str:
    counts = {"exact": found.duplicates}
    if found.lengths is not None:
        counts["but for case, punctuation and spaces"] = found.near_duplicates
    if has_test:
        counts["in a test split"] = found.leaks
    rows = max(1, found.checked)
    return ", ".join(f"{name} {count:,} ({count / rows:.1%})" for name, count in counts.items())


def _quarantine_lines(found: Inspection) -> Iterator[str]:
    bad = found.reasons.total()
    if not bad:
        yield _line("quarantine", "none")
        return
    yield _line("quarantine", f"{counted(bad, 'row')} ({found.bad_share:.1%})")
    for kind, count in found.reasons.most_common():
        yield f"    {count:,} x {kind}"
        yield from (f"      {example}" for example in found.examples.get(kind, ()))


def _encoder_lines(check: EncoderCheck, config: CampaignConfig) -> Iterator[str]:
    trial = check.trial
    yield f"encoder {check.task}/{check.name}"
    if not trial.samples:
        yield _line("loads", "there is no sample to measure it with")
        return
    workers = config.tasks[check.task].named_encoders[check.name].workers
    cores = workers or psutil.cpu_count() or 1
    each = f"{check.rows:,} samples at {trial.per_second:,.0f} a second on one core"
    seconds = check.rows / trial.per_second / cores
    processes = counted(cores, "process", "es")
    yield _line("time", f"{each}: about {_duration(seconds)} with {processes}")
    size = check.rows * trial.dimension * 2
    yield _line("embeddings", f"{trial.dimension} numbers each: {_size(size)} on disk")
    yield _line("memory", f"{_size(trial.memory_bytes)} for each process, about")
    near = f"{trial.near:,} of {trial.samples:,} samples"
    yield _line("similar", f"{near} have a cosine of {trial.similarity} or more with another")


def _size_lines(check: CampaignCheck) -> Iterator[str]:
    """Say what all splits take together."""
    found = [each.inspection for each in check.splits]
    disk = sum(each.usable * each.scale * each.mean_bytes for each in found)
    most = max(each.rows for each in found) * DRIVER_BYTES
    yield "run directory"
    yield _line("samples", f"{_size(disk)} before compression")
    yield _line("memory", f"{_size(most)} to compare the rows of the largest domain")


def _size(count: float) -> str:
    for unit in ("B", "KB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" or count >= 10 else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    minutes = seconds / 60
    return f"{minutes:.0f} min" if minutes < 90 else f"{minutes / 60:.1f} h"
