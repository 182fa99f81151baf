"""A sheet per round that people fill in with any spreadsheet program.

A row is one vote on one sample. Columns can be added and rows sorted, but not one column alone: a
row with a label has its sample, unless the column of samples was removed. The label `skip` says
that a person cannot tell. What was read stays: an emptied cell takes nothing back; another label by
the same person replaces theirs. Where samples are synthetic, a column more is for their quality.
"""

import logging
from collections.abc import Collection, Mapping, Sequence, Set
from types import MappingProxyType
from typing import Any

from umc_ray.annotation.backends.backend import AnnotationBackend, marked_texts, sample_rows
from umc_ray.annotation.backends.sheet_rows import (
    QUALITY,
    TO_READ_BACK,
    SheetRow,
    Slot,
    check_slots,
    named,
    read_sheet,
    slots_of,
)
from umc_ray.annotation.backends.sheet_samples import SampleCells, cells_of
from umc_ray.annotation.events import SampleKey
from umc_ray.annotation.ratings import RATING, change_key, rated, ratings
from umc_ray.annotation.spreadsheet import write_records
from umc_ray.annotation.store import Answer, Question
from umc_ray.errors import DataError, StoreError
from umc_ray.ingest.browser_images import browser_image
from umc_ray.records import SCORES
from umc_ray.tasks.spelling import shown
from umc_ray.tasks.task import TaskKind

logger = logging.getLogger(__name__)

SAMPLE = "sample"
TO_READ = ("domain", SAMPLE, "suggestion", "why", "choices")
COLUMNS = (*TO_READ_BACK[:3], *TO_READ, *TO_READ_BACK[3:])
SKIP = "skip"
NO_TEXTS: Mapping[SampleKey, str] = MappingProxyType({})


class SheetBackend(AnnotationBackend):
    """Asks through rounds/<n>/sheet.csv in the run directory, and reads it back."""

    def collect(self, round: int) -> list[Answer]:
        """Write the round's sheet if it is not there, else take over what people filled in.

        Raises:
            DataError: with the line of the sheet that cannot be understood; nothing is taken over
                then, and the sheet stays as it is.
            StoreError: a sample is not in the pool.
        """
        questions = self.store.questions(self.campaign, round)
        withdrawn = {(each.task, each.sample_id) for each in questions if not each.votes}
        slots = slots_of(questions)
        given = self.store.answers(self.campaign, round)
        if not self.storage.exists(_key(round)):
            self._write(round, slots, given)
            return given
        path = self.storage.path(_key(round))
        rows = [
            row
            for row in read_sheet(self.storage.read_bytes(_key(round)), path)
            if row.slot[:2] not in withdrawn
        ]
        check_slots(rows, slots, path)
        texts = marked_texts(self.storage, self.parts, list(slots.values()), self.kinds)
        new = new_answers(rows, slots, given, self.kinds, path, texts)
        scores = new_scores(rows, slots, ratings(self.store, self.campaign), path)
        self._check_samples(rows, slots, {each.key for each in (*new.values(), *scores.values())})
        self.store.record(list(new.values()), list(new))
        self.store.record_as(RATING, list(scores.values()), list(scores))
        return self.store.answers(self.campaign, round)

    def look_again(self, rounds: int) -> None:
        """Read the sheets of closed rounds again, where they still are.

        A sheet that cannot be read any more is said: its answers were taken over before.
        """
        for number in range(1, rounds + 1):
            if self.storage.exists(_key(number)):
                try:
                    self.collect(number)
                except DataError as error:
                    logger.warning("the sheet of round %d is not read again: %s", number, error)

    def hint(self, round: int) -> str:
        """Say what people have to do next."""
        return f"fill in the label column of {self.storage.path(_key(round))}, then run again"

    def _write(self, round: int, slots: Mapping[Slot, Question], given: Sequence[Answer]) -> None:
        questions = {question.key: question for question in slots.values()}
        rows = sample_rows(self.storage, self.parts, list(questions.values()), "pool")
        samples = {
            key: self._sample(question, rows.get(key)) for key, question in questions.items()
        }
        filled_in = _placed(slots, [each for each in given if self._can_be_read_back(each)])
        texts = self._text_columns({question.task for question in slots.values()})
        lines = []
        for slot, question in slots.items():
            sample = cells_of(samples[question.key], len(texts))
            read = [question.domain, *sample, _suggestion(question), question.why]
            read.append(self._choices(question.task))
            identity = [f"s{question.sample_id}", str(slot[2]), question.task]
            lines.append([*identity, *read, *filled_in.get(slot, ("", "")), ""])
        place = COLUMNS.index(SAMPLE)
        columns = [*COLUMNS[:place], *texts, *COLUMNS[place + 1 :]]
        if any(question.payload.made for question in slots.values()):
            columns.append(QUALITY)
        rows_read = [line[: len(columns)] for line in lines]
        self.storage.write_bytes(_key(round), write_records(columns, rows_read))

    def _check_samples(
        self, rows: Sequence[SheetRow], slots: Mapping[Slot, Question], changed: Set[SampleKey]
    ) -> None:
        """Make sure that rows whose answers are new have the samples that were asked about.

        Raises:
            DataError: with the first row that has the text or image of another sample.
        """
        columns = self._text_columns({question.task for question in slots.values()})
        if not changed or not any(column in row.cells for row in rows for column in columns):
            return
        asked = list({question.key: question for question in slots.values()}.values())
        found = sample_rows(self.storage, self.parts, asked, "pool", ["sample_id", "text"])
        samples = SampleCells(columns, {key: row["text"] for key, row in found.items()})
        path = self.storage.path(_key(asked[0].round))
        asking = changed & found.keys()
        for row in (row for row in rows if row.label and slots[row.slot].key in asking):
            if wrong := samples.differing(slots[row.slot].key, row.cells):
                raise DataError(
                    f"{path}:{row.line}: column {wrong[0]} has another text than was written for "
                    f"{named(row.slot)}, {shown(wrong[1])}: sort rows with all their columns, and "
                    "put each sample beside its sample_id again; or, if only texts were edited, "
                    "remove the column"
                )

    def _text_columns(self, tasks: Collection[str]) -> tuple[str, ...]:
        """Return the columns with samples: one, or two for pairs, which have their own names."""
        named = {self.pairs[task] for task in tasks if task in self.pairs}
        if not named:
            return (SAMPLE,)
        first = min(named)
        is_clear = len(named) == 1 and {*tasks} <= {*self.pairs} and {*COLUMNS}.isdisjoint(first)
        return first if is_clear else (SAMPLE, f"{SAMPLE}_2")

    def _choices(self, task: str) -> str:
        """Say what people can write into the label column."""
        kind = self.kinds[task]
        return f"{kind.form().hint()} | {SKIP}" if _can_skip(kind) else kind.form().hint()

    def _can_be_read_back(self, answer: Answer) -> bool:
        return answer.label is not None or _can_skip(self.kinds[answer.task])

    def _sample(self, question: Question, row: Mapping[str, Any] | None) -> str:
        """Return the text of a sample, or the path of its image after writing it."""
        if row is None:
            raise StoreError(
                f"sample {question.sample_id} of {question.task}/{question.domain} was asked but "
                f"is not in the pool of {self.storage.root}"
            )
        if row["image"] is None:
            return str(row["text"])
        image, media_type = browser_image(row["image"])
        name = f"images/{question.task}/s{question.sample_id}.{media_type.partition('/')[2]}"
        self.storage.write_bytes(f"{_folder(question.round)}/{name}", image)
        return name


def new_answers(
    rows: Sequence[SheetRow],
    slots: Mapping[Slot, Question],
    given: Sequence[Answer],
    kinds: Mapping[str, TaskKind],
    path: str,
    texts: Mapping[SampleKey, str] = NO_TEXTS,
) -> dict[str, Answer]:
    """Return what a sheet says beyond the answers given so far, by client key.

    `texts` are those of which a piece is to be marked.

    Raises:
        DataError: an unknown label, a piece that is not in its text, or one person twice on a
            sample.
    """
    before = {(answer.key, answer.annotator): answer for answer in given}
    lines: dict[tuple[SampleKey, str], int] = {}
    new = {}
    for row in (row for row in rows if row.label):
        question, nobody = slots[row.slot], _nobody(row.slot[2])
        # a name that is filled in later does not make the answer another person's
        named = row.annotator and (question.key, nobody) not in before
        person = (question.key, row.annotator if named else nobody)
        first = lines.setdefault(person, row.line)
        if first != row.line:
            raise DataError(
                f"{path}:{row.line}: {person[1]} labeled this sample in line {first} already; "
                "each vote needs another annotator"
            )
        label = _label(row, kinds[question.task], path, texts.get(question.key))
        answer = question.answered(person[1], label)
        last = before.get(person)
        if last is None or last.label != answer.label:
            new[_client_key(answer, last)] = answer
    return new


def new_scores(
    rows: Sequence[SheetRow],
    slots: Mapping[Slot, Question],
    before: Mapping[tuple[SampleKey, str], int],
    path: str,
) -> dict[str, Answer]:
    """Return what a sheet says of the quality of synthetic samples beyond `before`, by client key.

    Raises:
        DataError: something else than a score, or a score of a real sample.
    """
    new = {}
    for row in (row for row in rows if row.quality and row.label):
        question = slots[row.slot]
        if row.quality not in SCORES or question.payload.made is None:
            raise DataError(
                f"{path}:{row.line}: {QUALITY} is {' or '.join(SCORES)} of a synthetic sample, and "
                f"empty otherwise, found {row.quality!r}"
            )
        event = rated(question, row.annotator or _nobody(row.slot[2]), row.quality)
        last = before.get((event.key, event.annotator))
        if str(last) != row.quality:
            new[change_key(event, last)] = event
    return new


def _folder(round: int) -> str:
    return f"rounds/{round:04d}"


def _key(round: int) -> str:
    return f"{_folder(round)}/sheet.csv"


def _nobody(vote: int) -> str:
    """Name the person who gave a vote and no name."""
    return "sheet" if vote == 1 else f"sheet-{vote}"


def _label(row: SheetRow, kind: TaskKind, path: str, text: str | None) -> str | None:
    """Return the label that a row holds, in any spelling; None for a skip."""
    if row.label.casefold() == SKIP and _can_skip(kind):
        return None
    alike = [label for label in kind.labels if label.casefold() == SKIP]
    if row.label.casefold() == SKIP and not {SKIP, row.label} & {*alike}:
        raise DataError(
            f"{path}:{row.line}: {row.label!r} could be the label {alike[0]!r}, or say that a "
            f"person cannot tell: write {alike[0]}, or leave the cell empty"
        )
    try:
        return kind.parse(row.label, text)
    except DataError as error:
        more = f", or {SKIP}" if _can_skip(kind) else ""
        raise DataError(f"{path}:{row.line}: {error}{more}") from error


def _can_skip(kind: TaskKind) -> bool:
    """Whether `skip` says that a person cannot tell; not where a label is called so."""
    return SKIP not in {label.casefold() for label in kind.labels}


def _client_key(answer: Answer, last: Answer | None) -> str:
    """Name a change of an answer, so that two readers of one sheet make it once."""
    person = f"{answer.campaign}/{answer.task}/{answer.sample_id}/{answer.annotator}"
    return f"sheet/{person}/{answer.label}/{last.submitted_at if last else ''}"


def _placed(slots: Collection[Slot], given: Sequence[Answer]) -> dict[Slot, tuple[str, str]]:
    """Return label and annotator of the answers given so far, for a sheet that is written anew."""
    people: dict[tuple[str, int], dict[str, Answer]] = {}
    for answer in given:
        people.setdefault((answer.task, answer.sample_id), {})[answer.annotator] = answer
    placed = {}
    nobodies = {_nobody(vote) for _, _, vote in slots}
    for slot in slots:
        answers = people.get(slot[:2], {})
        names = [name for name in answers if name == _nobody(slot[2]) or name not in nobodies]
        if names:
            answer = answers.pop(min(names, key=lambda name: name not in nobodies))
            placed[slot] = (SKIP if answer.label is None else answer.label, answer.annotator)
    return placed


def _suggestion(question: Question) -> str:
    predicted = question.payload.predicted
    if predicted is None or question.hide_prediction:
        return ""
    confidence = question.payload.confidence
    return str(predicted) if confidence is None else f"{predicted} ({confidence:.0%})"
