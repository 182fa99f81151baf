"""SQuAD 1.1 and 2.0: JSON as it is distributed, or the Hub's Parquet files.

A row has id, title, context, question, is_impossible, and answers: a list of {text, answer_start},
which counts characters. A question without an answer has an empty list.

Source: Rajpurkar et al. 2018, Know What You Don't Know: Unanswerable Questions for SQuAD
"""

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import pyarrow as pa

from umc_ray.errors import DataError
from umc_ray.ingest.columns import TableFormat, Values, check_columns
from umc_ray.ingest.layouts.hub_files import hub_splits
from umc_ray.ingest.layouts.json_files import read_json
from umc_ray.ingest.layouts.layout import Asked, Layout, by_split, choose, in_order
from umc_ray.ingest.layouts.place import Place
from umc_ray.ingest.readers import Rows, read_rows
from umc_ray.ingest.sources import TABLES, BadRow
from umc_ray.methods.unicode_text import is_blank
from umc_ray.tasks.span_answers import Span, located

COLUMNS = ("id", "title", "context", "question", "answers", "is_impossible")
MOVED = "answer that is not exactly at its answer_start: moved to where it stands"

_MARK = re.compile(r'"(paragraphs|qas)"\s*:\s*\[')


@dataclass(frozen=True)
class Squad(Layout):
    """Questions about paragraphs, with answers that are in them."""

    name: ClassVar[str] = "squad"
    suffixes: ClassVar[tuple[str, ...]] = (*TABLES, ".json")

    @classmethod
    def mark(cls, place: Place) -> str | None:
        """Recognize JSON with paragraphs, or tables with context, question and answers."""
        for file in place.first_files(".json"):
            if _is_squad(file):
                return f"paragraphs in {file.name}"
        for names in hub_splits(place).values():
            if _has_answers(place.below(names[0]).schema()):
                return f"context, question and answers in {names[0]}"
        return None

    @classmethod
    def at(cls, place: Place, asked: Asked) -> Self:
        """Find the files of a split, or take one file."""
        if place.is_file:
            return cls.of_file(place)
        splits = by_split(file.name for file in place.files(".json") if _is_squad(file))
        splits = splits or in_order(hub_splits(place))
        if not splits:
            raise DataError(
                f"{place.uri} has no files of SQuAD: no train-v2.0.json or train-*.parquet"
            )
        _, names = choose(place, asked, splits)
        if len(names) > 1 and names[0].endswith(".json"):
            raise DataError(f"{place.uri} has {' and '.join(names)}: name one of them as path")
        return cls.of_split(place, asked, splits)

    def read_rows(
        self, uri: str, table: TableFormat, groups: range | None, notes: Counter[str]
    ) -> Rows:
        """Yield a row for each question, with answers that are where they say they are."""
        if uri.lower().endswith(".json"):
            check_columns(uri, table, COLUMNS)
            for number, row in enumerate(_questions(uri, table), start=1):
                if not isinstance(row, BadRow) and isinstance(row["answers"], Mapping):
                    row = _of_hub(row)
                yield number, row if isinstance(row, BadRow) else _checked(row, notes)
            return
        wanted = TableFormat((), ("answers", "context", *table.wanted))
        for number, values in read_rows(uri, wanted, groups):
            row = values if isinstance(values, BadRow) else _of_hub(values)
            yield number, row if isinstance(row, BadRow) else _checked(row, notes)


def _is_squad(file: Place) -> bool:
    head = file.head()
    return head.lstrip("\ufeff \r\n\t").startswith("{") and _MARK.search(head) is not None


def _has_answers(schema: pa.Schema | None) -> bool:
    if schema is None or not {"context", "question", "answers"} <= set(schema.names):
        return False
    kind = schema.field("answers").type
    return pa.types.is_struct(kind) and {"text", "answer_start"} <= {each.name for each in kind}


def _questions(uri: str, table: TableFormat) -> Iterator[dict[str, Any] | BadRow]:
    """Yield the questions of a JSON file as rows, not checked yet."""
    found = read_json(uri, table.encoding)
    if isinstance(found, BadRow):
        yield found
        return
    articles = found.get("data") if isinstance(found, Mapping) else None
    if not isinstance(articles, list):
        yield BadRow("unreadable file", 'it is not SQuAD: it has no list "data"')
        return
    for article in articles:
        for paragraph in _list(article, "paragraphs"):
            yield from _of_paragraph(article, paragraph)


def _of_paragraph(article: Any, paragraph: Any) -> Iterator[dict[str, Any] | BadRow]:  # noqa: ANN401
    if isinstance(paragraph, BadRow):
        yield paragraph
        return
    for question in _list(paragraph, "qas"):
        yield question if isinstance(question, BadRow) else _row(article, paragraph, question)


def _list(holder: object, name: str) -> list[Any]:
    """Return a list of an object, or one bad row if it has none."""
    found = holder.get(name) if isinstance(holder, Mapping) else None
    if isinstance(found, list):
        return found
    there = ", ".join(map(str, holder)) if isinstance(holder, Mapping) else type(holder).__name__
    return [BadRow("broken JSON", f"no list {name!r}, only {there[:80]}")]


def _row(
    article: Mapping[str, Any], paragraph: Mapping[str, Any], question: object
) -> dict[str, Any] | BadRow:
    if not isinstance(question, Mapping):
        return BadRow("broken JSON", "a question that is not an object")
    return {
        "id": question.get("id"),
        "title": article.get("title"),
        "context": paragraph.get("context"),
        "question": question.get("question"),
        "answers": question.get("answers"),
        "is_impossible": question.get("is_impossible"),
    }


def _of_hub(values: Values) -> dict[str, Any] | BadRow:
    """Return a row of the Hub's Parquet files, whose answers are two lists."""
    answers = values.get("answers")
    if isinstance(answers, Mapping):
        texts, starts = answers.get("text") or [], answers.get("answer_start") or []
        if len(texts) != len(starts):
            return BadRow("broken answers", f"{len(texts)} texts, {len(starts)} answer_start")
        pairs = zip(texts, starts, strict=True)
        answers = [{"text": text, "answer_start": start} for text, start in pairs]
    return {**values, "answers": answers, "is_impossible": answers == []}


def _checked(row: dict[str, Any], notes: Counter[str]) -> Values | BadRow:
    """Return a row whose answers are in its context, and say what had to be moved for that."""
    answers, context = row["answers"], row.get("context")
    if not isinstance(context, str):
        return BadRow("missing context", f"question {row.get('id')}")
    if answers is None:
        return row if not row["is_impossible"] else {**row, "answers": []}
    if not isinstance(answers, list):
        return BadRow("broken answers", f"{json.dumps(answers)[:80]} is not a list")
    if row["is_impossible"] is None and answers == []:
        return BadRow("no answer", f"question {row.get('id')} is not said to be impossible")
    if row["is_impossible"] and answers:
        return BadRow("answers of an impossible question", f"question {row.get('id')}")
    placed = [_placed(answer, context, notes) for answer in answers]
    bad = next((each for each in placed if isinstance(each, BadRow)), None)
    return bad or {**row, "answers": placed, "is_impossible": bool(row["is_impossible"])}


def _placed(answer: object, context: str, notes: Counter[str]) -> dict[str, object] | BadRow:
    """Return an answer where it really is."""
    if not isinstance(answer, Mapping) or not isinstance(answer.get("text"), str):
        return BadRow("broken answers", f"{json.dumps(answer)[:80]} has no text")
    text, start = answer["text"], answer.get("answer_start")
    if isinstance(start, str) and start.isdecimal():
        start = int(start)
    if is_blank(text) or isinstance(start, bool) or not isinstance(start, int):
        return BadRow("broken answers", f"text {text[:40]!r}, answer_start {start!r}")
    try:
        found = located(Span(start, text), context)
    except DataError as error:
        return BadRow("answer not at answer_start", str(error))
    if found != (start, text):
        notes[MOVED] += 1
    return {"text": found.text, "answer_start": found.start}
