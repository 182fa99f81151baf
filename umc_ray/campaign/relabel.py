"""Labels that come from outside the rounds: one that somebody corrects, or a file of them.

About a sample that people were asked about, a correction is a decision, as a reviewer's: it stands
above what was answered. A row of a file is an answer like any other. About other samples, both are
answers of round 0, which nobody was asked for.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from umc_ray.annotation.annotators import check_annotator
from umc_ray.annotation.backends.backend import marked_texts
from umc_ray.annotation.changes import changed_answers, client_key
from umc_ray.annotation.review import decide
from umc_ray.annotation.store import Question
from umc_ray.campaign.asked_rounds import check_store
from umc_ray.campaign.run import Run
from umc_ray.campaign.samples import find_samples, ids_of_samples
from umc_ray.config.table_text import delimiter_problem, encoding_problem
from umc_ray.errors import ConfigError, DataError
from umc_ray.ingest.columns import TableFormat, Values
from umc_ray.ingest.forgotten import forgotten_ids
from umc_ray.ingest.readers import read_rows
from umc_ray.ingest.sampling import UNREADABLE
from umc_ray.ingest.sources import BadRow
from umc_ray.records import DomainKey
from umc_ray.tasks.spelling import shown

COLUMNS = ("label",)
NAMING = ("sample_id", "key")
OPTIONAL = ("domain", *NAMING, "annotator", "time")


DAY_S = 86_400
"""How far the clock of who labeled may be ahead of this machine's."""


@dataclass(frozen=True)
class LabelRow:
    """A row of a file of labels; `time` is in seconds since 1970, None: now.

    `samples` are the names of its sample: one, or by two columns.
    """

    row: int
    domain_key: DomainKey
    samples: tuple[str, ...]
    label: str | None  # None: a skip
    annotator: str
    time: float | None


@dataclass(frozen=True)
class Imported:
    """What importing a file gave: usable rows, those that were new, and bad ones in order."""

    rows: int
    new: int
    bad: tuple[str, ...]


def relabel(run: Run, domain_key: DomainKey, sample: str, text: str, by: str) -> int:
    """Set the label of a sample; returns its id. The next round takes it over.

    Raises:
        DataError: there is no such sample, or it is no answer to the task.
        ConfigError: there is no such domain; or a replay has no answer for a sample that it was
            not asked about.
        StoreError: the store of answers and the rounds do not belong together.
    """
    check_store(run)
    check_annotator(by)
    run.config.domain(domain_key)
    (sample_id,) = ids_of_samples(run, domain_key, [sample])
    (label,) = _placed(run, [(domain_key, sample_id, run.kinds[domain_key.task].parse(text))])
    if isinstance(label, DataError):
        raise label
    question = run.store.question((run.config.name, domain_key.task, sample_id))
    if question is None or question.round == 0:
        row = LabelRow(0, domain_key, (sample,), label, by, None)
        _record(run, [(row, sample_id)])
    else:
        decision = question.answered(by, label)
        decide(run.store, decision, client_key(decision, run.store.clock()))
    return sample_id


def import_labels(
    run: Run, path: str, by: str, encoding: str | None = None, delimiter: str | None = None
) -> Imported:
    """Take over the labels in a table; rows that cannot be used are reported, the others count.

    The columns: label; key or sample_id, or both; domain, if there are several; annotator and
    time, in seconds since 1970, as far as they are known.

    Raises:
        DataError: the file cannot be read, has no rows, or lacks a column.
        ConfigError: a replay has no answer for a sample that it was not asked about; or there is
            no such encoding or delimiter.
        StoreError: the store of answers and the rounds do not belong together.
    """
    check_store(run)
    bad, rows = _readable(run, path, check_annotator(by), encoding, delimiter)
    found, lost = _found(run, rows)
    bad |= lost
    forgotten = forgotten_ids(run.storage)
    bad |= {row.row: f"{row.samples[0]} was forgotten" for row, i in found if i in forgotten}
    found = [(row, sample_id) for row, sample_id in found if sample_id not in forgotten]
    placed = _placed(run, [(row.domain_key, i, row.label) for row, i in found])
    pairs = list(zip(found, placed, strict=True))
    bad |= {row.row: str(e) for (row, _), e in pairs if isinstance(e, DataError)}
    found = [
        (replace(row, label=label), sample_id)
        for (row, sample_id), label in pairs
        if not isinstance(label, DataError)
    ]
    problems = tuple(f"{path} row {number}: {bad[number]}" for number in sorted(bad))
    return Imported(len(found), _record(run, found), problems)


def _readable(
    run: Run, path: str, by: str, encoding: str | None, delimiter: str | None
) -> tuple[dict[int, str], list[LabelRow]]:
    """Return what is wrong with rows of a file, by their number, and the other rows.

    Raises:
        DataError: it cannot be read, has no rows, or lacks a column.
        ConfigError: nothing can be read in such an encoding, or with such a delimiter.
    """
    problem = (encoding is not None and encoding_problem(encoding)) or (
        delimiter is not None and delimiter_problem(delimiter)
    )
    if problem:
        raise ConfigError(problem)
    bad, rows = dict[int, str](), list[LabelRow]()
    table = TableFormat(COLUMNS, OPTIONAL, encoding=encoding, delimiter=delimiter, in_command=True)
    for number, values in read_rows(path, table):
        try:
            if isinstance(values, BadRow):
                raise values
            rows.append(_label_row(run, number, values, by))
        except DataError as error:
            if number == 1 and isinstance(error, BadRow) and error.kind == UNREADABLE:
                reason = str(error).removeprefix(f"{UNREADABLE}: ")
                raise DataError(f"cannot read {path}: {reason}") from error
            bad[number] = str(error)
    if not bad and not rows:
        raise DataError(f"{path} has no rows, so there is no label to import")
    return bad, rows


def _label_row(run: Run, number: int, values: Values, by: str) -> LabelRow:
    domain_key = _domain_of(run, values.get("domain"))
    return LabelRow(
        row=number,
        domain_key=domain_key,
        samples=_names(values),
        label=run.kinds[domain_key.task].parse(values["label"]),
        annotator=check_annotator(str(values.get("annotator") or by).strip() or by),
        time=_time(values.get("time"), run.store.clock()),
    )


def _names(values: Values) -> tuple[str, ...]:
    """Return the names that a row has for its sample; an id may lack its s."""
    given = ((name, str(values[name]).strip()) for name in NAMING if values.get(name) is not None)
    named = {name: text for name, text in given if text}
    if not named:
        raise DataError("neither key nor sample_id says which sample it is")
    return tuple(
        f"s{text}" if name == "sample_id" and re.fullmatch(r"\d+", text) else text
        for name, text in named.items()
    )


def _domain_of(run: Run, name: object) -> DomainKey:
    domain_keys = list(run.config.domains())
    if name in (None, "") and len(domain_keys) == 1:
        return domain_keys[0]
    found = [key for key in domain_keys if name in (str(key), key.domain)]
    if len(found) != 1:
        names = ", ".join(map(str, domain_keys))
        raise DataError(f"domain {name!r} is not one of {names}")
    return found[0]


def _time(value: object, now: float) -> float | None:
    if value is None or value == "":
        return None
    try:
        seconds = float(str(value))
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds <= now + DAY_S:
        raise DataError(
            f"time {shown(str(value))} must be a number of seconds since 1970, not after now"
        )
    return seconds


def _found(run: Run, rows: Sequence[LabelRow]) -> tuple[list[tuple[LabelRow, int]], dict[int, str]]:
    """Return the rows whose sample is in the pool, with its id, and what is wrong with others."""
    found, lost = list[tuple[LabelRow, int]](), dict[int, str]()
    for domain_key in dict.fromkeys(row.domain_key for row in rows):
        mine = [row for row in rows if row.domain_key == domain_key]
        ids = find_samples(run, domain_key, [name for row in mine for name in row.samples])
        for row in mine:
            unknown = [name for name in row.samples if name not in ids]
            if unknown:
                lost[row.row] = f"{domain_key} has no sample {shown(unknown[0])}"
            elif len({ids[name] for name in row.samples}) > 1:
                lost[row.row] = "{} and {} are two samples".format(*map(shown, row.samples))
            else:
                found.append((row, ids[row.samples[0]]))
    return found, lost


def _placed(
    run: Run, labels: Sequence[tuple[DomainKey, int, str | None]]
) -> list[str | DataError | None]:
    """Return labels of samples, marked pieces where they stand in the sample's text, or why not."""
    name, found = run.config.name, list[str | DataError | None]()
    questions = [Question(name, 0, key.task, key.domain, i) for key, i, _ in labels]
    texts = marked_texts(run.storage, run.askable_parts(), questions, run.kinds)
    for question, (key, _, label) in zip(questions, labels, strict=True):
        text = texts.get(question.key)
        try:
            found.append(label if None in (label, text) else run.kinds[key.task].parse(label, text))
        except DataError as error:
            found.append(error)
    return found


def _record(run: Run, rows: Sequence[tuple[LabelRow, int]]) -> int:
    """Store rows as answers, those that change something; returns how many did."""
    store, name = run.store, run.config.name
    rounds = {question.key: question for question in store.questions(name)}
    keys = [(name, row.domain_key.task, sample_id) for row, sample_id in rows]
    new = {
        key: Question(name, 0, row.domain_key.task, row.domain_key.domain, key[2], why="imported")
        for (row, _), key in zip(rows, keys, strict=True)
        if key not in rounds
    }
    if new and run.config.annotation.traits.knows_answers:
        raise ConfigError(
            f"{run.config.name} replays known answers: put labels of samples that were not asked "
            "about into its sources"
        )
    store.submit(list(new.values()))
    questions = rounds | new
    answers = [
        replace(questions[key].answered(row.annotator, row.label), submitted_at=row.time)
        for (row, _), key in zip(rows, keys, strict=True)
    ]
    changes = changed_answers(answers, store.answers(name))
    recorded = store.record(list(changes.values()), list(changes))
    store.close_round(name, 0)
    return recorded
