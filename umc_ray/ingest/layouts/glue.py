"""GLUE: a folder of TSV files for each task, as it is distributed, or the Hub's Parquet files.

Rows of TSV files have the columns of their header and, beside them, those that the Hub's files
have, so that a campaign reads both alike. TSV is read without quoting: a quote is a letter.

Source: Wang et al. 2018, GLUE: A Multi-Task Benchmark and Analysis Platform for NLU
"""

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar, Self

from umc_ray.config.formats import FORMATS, task_of
from umc_ray.errors import DataError
from umc_ray.ingest.class_names import UNLABELED
from umc_ray.ingest.columns import TableFormat, Values, check_columns
from umc_ray.ingest.layouts.hub_files import hub_splits
from umc_ray.ingest.layouts.layout import SPLITS, Asked, Layout, choose, in_order
from umc_ray.ingest.layouts.place import Place
from umc_ray.ingest.readers import Rows, read_rows
from umc_ray.ingest.sources import TABLES, BadRow
from umc_ray.ingest.text_files import lines, open_text

CRLF = "files with Windows line ends"
NO_GOLD = "rows without a gold label ('-'): read as unlabeled"


@dataclass(frozen=True)
class Task:
    """A task's TSV files: their headers, and the names of their columns on the Hub."""

    folder: str
    headers: tuple[str, ...]  # of the files with labels, any of them
    names: Mapping[str, str]  # of the columns on the Hub, by the names that they have in TSV
    labels: tuple[str, ...] = ()  # names of the classes 0, 1, ...; none: a number
    are_numbers: bool = True  # the TSV files have class numbers, not names


_PAIR = ("#1 String", "#2 String")
TASKS: Mapping[str, Task] = MappingProxyType(
    {
        "cola": Task(
            "CoLA",
            (),  # train.tsv and dev.tsv begin with their first row
            {"is_acceptable": "label"},
            ("unacceptable", "acceptable"),
        ),
        "sst2": Task("SST-2", ("sentence\tlabel",), {}, ("negative", "positive")),
        "mrpc": Task(
            "MRPC",
            ("Quality\t#1 ID\t#2 ID\t#1 String\t#2 String",),
            {"Quality": "label", "#1 String": "sentence1", "#2 String": "sentence2"},
            ("not_equivalent", "equivalent"),
        ),
        "qqp": Task(
            "QQP",
            ("id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate",),
            {"is_duplicate": "label"},
            ("not_duplicate", "duplicate"),
        ),
        "stsb": Task(
            "STS-B",
            (
                "index\tgenre\tfilename\tyear\told_index\tsource1\tsource2\tsentence1\t"
                "sentence2\tscore",
            ),
            {"score": "label"},
        ),
        "mnli": Task(
            "MNLI",
            ("index\tpromptID\tpairID\tgenre\t",),
            {"sentence1": "premise", "sentence2": "hypothesis", "gold_label": "label"},
            ("entailment", "neutral", "contradiction"),
            are_numbers=False,
        ),
        "qnli": Task(
            "QNLI",
            ("index\tquestion\tsentence\tlabel",),
            {},
            ("entailment", "not_entailment"),
            are_numbers=False,
        ),
        "rte": Task(
            "RTE",
            ("index\tsentence1\tsentence2\tlabel",),
            {},
            ("entailment", "not_entailment"),
            are_numbers=False,
        ),
        "wnli": Task(
            "WNLI",
            ("index\tsentence1\tsentence2\tlabel",),
            {},
            ("not_entailment", "entailment"),
        ),
    }
)
FIRST = 10
"""Rows without a header that are looked at; one of them may be broken."""

_COLA = ("source", "is_acceptable", "note", "sentence")
"""The columns of CoLA's files that have no header."""

_MSR = {"msr_paraphrase_train.txt": "train", "msr_paraphrase_test.txt": "test"}
"""MRPC as its publisher packs it; its test split has labels."""


@dataclass(frozen=True)
class Glue(Layout):
    """One task of GLUE."""

    task: str
    split: str

    name: ClassVar[str] = "glue"
    suffixes: ClassVar[tuple[str, ...]] = (*TABLES, ".txt")

    @classmethod
    def mark(cls, place: Place) -> str | None:
        """Recognize a task's folder by the header of its TSV files, or by the names of MRPC's."""
        if place.has(*_MSR):
            return "msr_paraphrase_train.txt"
        task = _task_of_header(place)
        if task is None or not place.has("train.tsv"):
            return None
        what = "rows" if task == "cola" else "header"
        return f"train.tsv with the {what} of {TASKS[task].folder}"

    @classmethod
    def at(cls, place: Place, asked: Asked) -> Self:
        """Find a task's files for a split: in its folder, in that of all tasks, or one file."""
        task = _task(place, asked)
        inside = [TASKS[task].folder, TASKS[task].folder.lower(), task]
        inner = next((name for name in inside if place.has(name)), None)
        folder = place if inner is None else place.below(inner)
        if folder.is_file:
            split = asked.split or _split_of(folder.name) or "train"
            return cls(place.uri, (folder.uri,), f"glue: {task}", task, split)
        splits = _splits(folder)
        if not splits:
            raise DataError(
                f"{folder.uri} has no files of GLUE: no train.tsv, msr_paraphrase_train.txt or "
                "train-*.parquet"
            )
        split, names = choose(folder, asked, splits)
        if asked.use == "test" and split.startswith("test") and not _has_labels(names):
            raise DataError(
                f"{folder.uri}: the labels of GLUE's test split were never published; name one of "
                f"{', '.join(each for each in splits if not each.startswith('test'))}"
            )
        paths = tuple(folder.below(name).uri for name in names)
        about = f"glue: {task}, split {split} of {', '.join(splits)}"
        return cls(place.uri, paths, about, task, split)

    @property
    def labels(self) -> tuple[str, ...]:
        """The names of the task's classes; none of STS-B."""
        return TASKS[self.task].labels

    def read_rows(
        self, uri: str, table: TableFormat, groups: range | None, notes: Counter[str]
    ) -> Rows:
        """Yield rows with the Hub's columns; -1 is no label."""
        if not uri.lower().endswith((".tsv", ".txt")):
            return self._hub_rows(uri, table, groups)
        return self._checked(uri, _tsv(uri, TASKS[self.task], table, notes))

    def _checked(self, uri: str, rows: Rows) -> Rows:
        """Pass rows on, and a file that cannot be read as a bad row."""
        number = 0
        try:
            for number, values in rows:
                yield number, values
        except BadRow as error:
            yield number + 1, error

    def _hub_rows(self, uri: str, table: TableFormat, groups: range | None) -> Rows:
        labels = TASKS[self.task].labels
        for number, values in read_rows(uri, table, groups):
            if isinstance(values, BadRow) or table.class_column not in values:
                yield number, values
                continue
            value = values[table.class_column]  # type: ignore[index]
            yield number, {**values, str(table.class_column): _named(value, labels)}


def _task(place: Place, asked: Asked) -> str:
    """Return the task that is meant.

    Raises:
        DataError: nothing says which.
    """
    known = asked.task or _task_of_header(place)
    if known is None and place.has("msr_paraphrase_train.txt"):
        known = "mrpc"
    known = known or task_of("glue", None, place.uri)
    if known is None:
        raise DataError(
            f"{place.uri}: which task of GLUE is it? Name one as task: of "
            f"{', '.join(FORMATS['glue'].tasks)}"
        )
    return known


def _task_of_header(place: Place) -> str | None:
    """Return the task whose header a folder's train.tsv, or a TSV file, has."""
    file = place if place.is_file else place.below("train.tsv")
    if not (file.name.endswith(".tsv") and file.is_file):
        return None
    head = file.head().split("\n")
    header = head[0].rstrip("\r")
    found = [name for name, task in TASKS.items() if header.startswith(task.headers or ("\0",))]
    if len(found) > 1:  # RTE and WNLI: one has names, the other has numbers
        first = head[1].rstrip("\r").rsplit("\t", 1)[-1] if len(head) > 1 else ""
        found = [name for name in found if TASKS[name].are_numbers == first.isdigit()]
    if not found and any(_is_cola(line) for line in head[:FIRST]):
        return "cola"
    return found[0] if len(found) == 1 else None


def _is_cola(line: str) -> bool:
    fields = line.rstrip("\r").split("\t")
    return len(fields) == len(_COLA) and fields[1] in ("0", "1") and fields[2] in ("", "*")


def _splits(folder: Place) -> dict[str, tuple[str, ...]]:
    """Return the files of each split."""
    found: dict[str, tuple[str, ...]] = {
        split: (name,) for name in folder.ending(".tsv") if (split := _split_of(name)) is not None
    }
    found = found or {split: (name,) for name, split in _MSR.items() if folder.has(name)}
    found = found or hub_splits(folder)
    return in_order(found)


def _split_of(name: str) -> str | None:
    """Return the split of a TSV file: train.tsv, dev.tsv, dev_matched.tsv."""
    first, _, rest = name.removesuffix(".tsv").partition("_")
    if first not in SPLITS or rest not in ("", "matched", "mismatched"):
        return None
    return "_".join(each for each in (SPLITS[first], rest) if each)


def _has_labels(names: Sequence[str]) -> bool:
    return any(name in _MSR for name in names)


def _tsv(uri: str, task: Task, table: TableFormat, notes: Counter[str]) -> Rows:
    """Yield the rows of a TSV file.

    Raises:
        BadRow: it is no text.
        DataError: it has no such column.
    """
    with open_text(uri, "\n", table.encoding) as text:
        found = _lines(lines(text), notes)
        first = next(found, None)
        if first is None:
            return
        header = first
        if not task.headers and "sentence" not in first:
            header, found = list(_COLA), _before(first, found)
        columns = list(dict.fromkeys([*header, *map(task.names.get, header), "label", "idx"]))
        check_columns(uri, table, [name for name in columns if name is not None])
        for number, fields in enumerate(found, start=1):
            yield number, _values(header, fields, number, task, notes)


def _before(first: list[str], rest: Iterator[list[str]]) -> Iterator[list[str]]:
    yield first
    yield from rest


def _lines(found: Iterator[str], notes: Counter[str]) -> Iterator[list[str]]:
    """Yield the fields of each line that has some."""
    for number, line in enumerate(found):
        if number == 0 and line.endswith("\r\n"):
            notes[CRLF] += 1
        if stripped := line.rstrip("\r\n"):
            yield stripped.split("\t")


def _values(
    header: Sequence[str], fields: Sequence[str], number: int, task: Task, notes: Counter[str]
) -> Values | BadRow:
    if len(fields) != len(header):
        return BadRow("broken TSV", f"{len(fields)} fields, the header has {len(header)}")
    row: dict[str, object] = dict(zip(header, fields, strict=True))
    found: dict[str, object] = {"label": None, "idx": number - 1}
    found |= {hub: row[name] for name, hub in task.names.items() if name in row}
    if "label" in row:
        found["label"] = row["label"]
    if found["label"] == "-":
        notes[NO_GOLD] += 1
        found["label"] = None
    return {**row, **found, "label": _named(found["label"], task.labels)}


def _named(value: object, labels: Sequence[str]) -> object:
    """Return the name of a class number; -1 is none, and a name stays."""
    if value in (None, "", UNLABELED, str(UNLABELED)):
        return None
    if not labels:
        return _number(value)
    number = _number(value)
    if isinstance(number, float) and number in range(len(labels)):
        return labels[int(number)]
    return None if number == UNLABELED else value


def _number(value: object) -> object:
    """Return a score as a number, or the text as it is where it is none."""
    try:
        number = float(str(value))
    except ValueError:
        return value
    return number if math.isfinite(number) else str(value)
