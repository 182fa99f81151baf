"""What people fill in to answer, independent of where: the page, a sheet, Label Studio.

A kind of task names its form. A form knows how its answers look in each of these places; another
form is another class here, with a template of its own for the page.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol
from xml.sax.saxutils import quoteattr

from umc_ray.errors import DataError
from umc_ray.methods.unicode_text import without_invisible
from umc_ray.tasks.spelling import find_label, shown

Document = dict[str, Any]
SEPARATOR = " | "
"""Between the labels of one answer in text, and between the choices that a sheet shows."""

NONE = "(none)"
"""The text of an answer that is an empty set of labels."""


EXACT = 2.0**53
"""Below, a float that is a whole number is just that."""


def says_none(text: str) -> bool:
    """Return whether a text is that of an empty set of labels, in any spelling."""
    return without_invisible(text).casefold() == NONE


class Form(Protocol):
    """What people fill in."""

    template: ClassVar[str]
    """How the page shows it: a file in web/templates/forms."""

    @property
    def labels(self) -> tuple[str, ...]:
        """What can be chosen; empty where an answer is no choice."""
        ...

    @property
    def multiple(self) -> bool:
        """Whether an answer can be several labels."""
        ...

    @property
    def marks_text(self) -> bool:
        """Whether an answer is a piece of the text, of the second one of a pair."""
        ...

    @property
    def seldom_equal(self) -> bool:
        """Whether answers are texts that seldom equal: not every difference is a dispute."""
        ...

    def chosen(self, answer: str) -> list[str]:
        """Return the labels of an answer."""
        ...

    def shown(self, answer: str) -> str:
        """Return an answer as people see it."""
        ...

    def hint(self) -> str:
        """Say in a sheet what can be answered."""
        ...

    def control_xml(self, name: str, to_name: str) -> str:
        """Return Label Studio's control for it."""
        ...

    def result(self, answer: str, name: str, to_name: str) -> list[Document]:
        """Return an answer as Label Studio has it.

        Raises:
            DataError: the form cannot give this answer.
        """
        ...

    def answer(self, result: Sequence[Mapping[str, Any]], name: str) -> str | None:
        """Return the answer in a result of Label Studio that was submitted; None if it has none.

        Raises:
            DataError: the result is not of this form.
        """
        ...


@dataclass(frozen=True)
class ChoiceForm:
    """One or several of a set of labels."""

    labels: tuple[str, ...]
    multiple: bool = False
    template: ClassVar[str] = "choices"
    marks_text: ClassVar[bool] = False
    seldom_equal: ClassVar[bool] = False

    def shown(self, answer: str) -> str:
        """Return the answer."""
        return answer

    def hint(self) -> str:
        """List the labels, and say how several are given."""
        listed = SEPARATOR.join(self.labels)
        return f"any of: {listed}{SEPARATOR}{NONE}" if self.multiple else listed

    def control_xml(self, name: str, to_name: str) -> str:
        """Return a <Choices> element."""
        choices = "".join(f"<Choice value={quoteattr(label)}/>" for label in self.labels)
        choice = "multiple" if self.multiple else "single"
        return (
            f'<Choices name="{name}" toName="{to_name}" choice="{choice}" showInLine="true">'
            f"{choices}</Choices>"
        )

    def result(self, answer: str, name: str, to_name: str) -> list[Document]:
        """Return the chosen labels as a result of type choices."""
        chosen = self.chosen(answer)
        if not set(chosen) <= set(self.labels):
            raise DataError(f"the labeling form has no choice {answer!r}, only {self.labels}")
        value = {"choices": chosen}
        return [{"from_name": name, "to_name": to_name, "type": "choices", "value": value}]

    def answer(self, result: Sequence[Mapping[str, Any]], name: str) -> str | None:
        """Return the chosen labels as text, in the order of the label set.

        Label Studio leaves out a control in which nothing is chosen: an empty set, if several
        labels can be.
        """
        regions = [each for each in result if each.get("from_name") == name]
        given = [c for each in regions for c in each.get("value", {}).get("choices", ())]
        if len(given) > 1 and not self.multiple:
            raise DataError(f"need one of the choices {self.labels}, found {given}")
        try:
            chosen = [find_label(str(each), self.labels) for each in given]
        except DataError as error:
            raise DataError(f"choices {given}: {error}") from error
        if self.multiple:
            return self.text(chosen)
        return chosen[0] if chosen else None

    def chosen(self, answer: str) -> list[str]:
        """Return the labels of an answer."""
        if not self.multiple:
            return [answer]
        return [] if answer == NONE else answer.split(SEPARATOR)

    def text(self, chosen: Sequence[str]) -> str:
        """Return the text of an answer, its labels in the order of the label set."""
        given = set(chosen)
        return SEPARATOR.join(label for label in self.labels if label in given) or NONE


@dataclass(frozen=True)
class NumberForm:
    """A number from `low` to `high`."""

    low: float
    high: float
    template: ClassVar[str] = "number"
    marks_text: ClassVar[bool] = False
    seldom_equal: ClassVar[bool] = False
    labels: ClassVar[tuple[str, ...]] = ()
    multiple: ClassVar[bool] = False

    @property
    def ends(self) -> tuple[str, str]:
        """The texts of both ends."""
        return number_text(self.low), number_text(self.high)

    def shown(self, answer: str) -> str:
        """Return the answer."""
        return answer

    def hint(self) -> str:
        """Say which numbers can be answered."""
        return f"a number from {self.ends[0]} to {self.ends[1]}"

    def control_xml(self, name: str, to_name: str) -> str:
        """Return a <Number> element."""
        low, high = self.ends
        return f'<Number name="{name}" toName="{to_name}" min="{low}" max="{high}" step="any"/>'

    def result(self, answer: str, name: str, to_name: str) -> list[Document]:
        """Return the number as a result of type number."""
        value = {"number": float(self.text(answer))}
        return [{"from_name": name, "to_name": to_name, "type": "number", "value": value}]

    def answer(self, result: Sequence[Mapping[str, Any]], name: str) -> str | None:
        """Return the number as text; None if none was filled in."""
        regions = [each for each in result if each.get("from_name") == name]
        given = [each.get("value", {}).get("number") for each in regions]
        if len(given) > 1:
            raise DataError(f"need {self.hint()}, found several: {given}")
        return self.text(given[0]) if given else None

    def chosen(self, answer: str) -> list[str]:
        """Return none: a number is no choice."""
        return []

    def text(self, raw: object) -> str:
        """Return the text of a number in the range, however it is spelled.

        Raises:
            DataError: it is none, or outside of the range.
        """
        try:
            if isinstance(raw, bool):
                raise ValueError
            value = float(without_invisible(raw) if isinstance(raw, str) else raw)  # type: ignore[arg-type]
        except (TypeError, ValueError) as error:
            raise DataError(f"{shown(str(raw))} is not {self.hint()}") from error
        if not self.low <= value <= self.high:  # nor is NaN
            raise DataError(f"{shown(str(raw))} is not {self.hint()}")
        return number_text(value)


def number_text(value: float) -> str:
    """Return the shortest text of a finite number: 3 for 3.0."""
    value = float(value)
    return str(int(value)) if value.is_integer() and abs(value) < EXACT else repr(value)
