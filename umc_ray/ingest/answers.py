"""The known answers of a source: its columns `label` and `ratings`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from umc_ray.errors import DataError
from umc_ray.ingest.sources import BadRow
from umc_ray.methods.unicode_text import is_blank
from umc_ray.tasks.forms import SEPARATOR, says_none
from umc_ray.tasks.spelling import find_label, shown
from umc_ray.tasks.task import TaskKind, plain_text
from umc_ray.tasks.written_answers import is_listed

MOVED = "answer_start is not where the answer stands in the text: taken from the text"
LISTED = (
    'answer that looks like a list is read as one text: write {"references": ["one", "another"]} '
    "for several right ones"
)
UNKNOWN_LABEL = "label that the campaign does not have: left out"
UNREADABLE = "answer that cannot be read: left out"


@dataclass(frozen=True)
class AnswerRules:
    """How a domain's known answers are read."""

    kind: TaskKind
    names: Mapping[str, str]  # of class ids; empty: the source has the labels themselves
    is_read: bool  # somebody reads the answers, so that wrong ones are bad rows
    is_required: bool

    def label(self, value: object, sample: str | None = None) -> tuple[str | None, tuple[str, ...]]:
        """Return a known label as the task's kind writes it, or None, and notes on its spelling.

        `sample` is the text that it is of.

        Raises:
            BadRow: it is missing or wrong, where somebody reads it.
        """
        if is_missing(value):
            if self.is_required:
                raise BadRow("missing label")
            return None, ()
        try:
            meant = self._named(value)
            answer = self.kind.parse(meant, sample)
        except DataError as error:
            has_labels = bool(self.kind.labels)
            if self.is_read:
                reason = "unknown label" if has_labels else "unusable answer"
                raise BadRow(reason, str(error)) from error
            return None, (UNKNOWN_LABEL if has_labels else UNREADABLE,)
        if self.kind.learned_from == "texts" and is_listed(answer):
            return answer, (LISTED,)
        return answer, () if meant == answer else self._respelled(meant, answer)

    def ratings(self, value: object) -> list[int] | None:
        """Return recorded ratings.

        Raises:
            BadRow: they are no whole numbers, where somebody reads them.
        """
        if value is None:
            return None
        if isinstance(value, list) and all(_is_int8(rating) for rating in value):
            return value
        if self.is_read:
            raise BadRow("wrong type", f"ratings are not a list of small whole numbers: {value!r}")
        return None

    def _named(self, value: object) -> object:
        """Return the names of class ids."""
        if not self.names:
            return value
        ids = tuple(self.names)
        try:
            return [self.names[find_label(each, ids)] for each in self._parts(value)]
        except DataError as error:
            raise DataError(f"class id: {error}") from error

    def _respelled(self, value: object, answer: str) -> tuple[str, ...]:
        """Note the labels that the campaign spells in another way."""
        labels = self.kind.labels
        if self.kind.learned_from == "tokens" and self.kind.parse(value) != answer:
            return (MOVED,)
        odd = [text for text in self._parts(value) if text not in labels] if labels else []
        multiple = self.kind.form().multiple
        pairs = [(text, _meant(text, labels) if multiple else answer) for text in odd]
        return tuple(f"label {shown(text)} read as {shown(label)}" for text, label in pairs)

    def _parts(self, value: object) -> list[str]:
        """Return the texts of the labels in an answer, one or several."""
        if isinstance(value, list):
            return [plain_text(each) for each in value]
        text = plain_text(value)
        if not self.kind.form().multiple:
            return [text]
        return [] if says_none(text) else [each.strip() for each in text.split(SEPARATOR.strip())]


def _meant(text: str, labels: Sequence[str]) -> str:
    """Return the label that a text means, or the text if its kind has another rule."""
    try:
        return find_label(text, labels)
    except DataError:
        return text


def is_missing(value: object) -> bool:
    """Return whether a cell holds nothing: no value, not a number, or nothing that one can see."""
    return value is None or value != value or (isinstance(value, str) and is_blank(value))


def _is_int8(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and -128 <= value < 128
