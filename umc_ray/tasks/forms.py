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
from umc_ray.tasks.span_answers import NO_ANSWER, UNKNOWN, Span, answer_text, read_spans
from umc_ray.tasks.spelling import find_label, shown

Document = dict[str, Any]
SEPARATOR = " | "
"""Between the labels of one answer in text, and between the choices that a sheet shows."""

NONE = "(none)"
"""The text of an answer that is an empty set of labels."""


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

    def chosen(self, answer: str) -> list[str]:
        """Return the labels of an answer."""
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


MARK = "Answer"
"""The label of a marked span in Label Studio."""


@dataclass(frozen=True)
class SpanForm:
    """A span of a text that people mark, or that there is none."""

    template: ClassVar[str] = "span"
    labels: ClassVar[tuple[str, ...]] = ()
    multiple: ClassVar[bool] = False

    def hint(self) -> str:
        """Say what can be written in a sheet."""
        return f"the answer as it stands in the text, or {NO_ANSWER}"

    def control_xml(self, name: str, to_name: str) -> str:
        """Return a <Labels> element, and <Choices> for no answer."""
        return (
            f'<Labels name="{name}" toName="{to_name}"><Label value="{MARK}"/></Labels>'
            f'<Choices name="{name}-none" toName="{to_name}" choice="multiple">'
            f'<Choice value="{NO_ANSWER}"/></Choices>'
        )

    def result(self, answer: str, name: str, to_name: str) -> list[Document]:
        """Return marked spans as results of type labels, or the choice of no answer."""
        about: Document = {"to_name": to_name}
        if answer == NO_ANSWER:
            value: Document = {"choices": [NO_ANSWER]}
            return [{**about, "from_name": f"{name}-none", "type": "choices", "value": value}]
        return [
            {**about, "from_name": name, "type": "labels", "value": _marked(span)}
            for span in read_spans(answer)
        ]

    def answer(self, result: Sequence[Mapping[str, Any]], name: str) -> str | None:
        """Return the marked spans as text; None if nothing was marked."""
        values = {
            control: [each.get("value", {}) for each in result if each.get("from_name") == control]
            for control in (name, f"{name}-none")
        }
        marked, none = values[name], values[f"{name}-none"]
        if marked and none:
            raise DataError("an answer is marked, and it is said that there is none")
        if none:
            return NO_ANSWER
        return answer_text(read_spans(marked)) if marked else None

    def chosen(self, answer: str) -> list[str]:
        """Return none: a span is no choice."""
        return []


def _marked(span: Span) -> Document:
    if span.start == UNKNOWN:
        raise DataError(f"it is not known where {shown(span.text)} stands")
    end = span.start + len(span.text)
    return {"start": span.start, "end": end, "text": span.text, "labels": [MARK]}
