"""Published formats of datasets: what is known of each before its files are read.

Which files there are and what is in them is up to umc_ray/ingest/layouts/.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

Columns = Mapping[str, str | list[str]]
"""Options of a domain that a format sets, unless the domain does."""

SAMPLE = ("text", "columns", "image")
"""The options that say what a sample is; a domain that has one has no need of the others."""

FILES = "files"
"""Plain files: nothing is recognized in them."""


@dataclass(frozen=True)
class Format:
    """The columns of a format, and those of its tasks if it has several."""

    columns: Columns = field(default_factory=dict)
    tasks: Mapping[str, Columns] = field(default_factory=dict)

    def columns_of(self, task: str | None) -> Columns:
        """Return the columns of a task, or those of the format."""
        return {**self.columns, **self.tasks.get(task or "", {})}


def _pair(first: str, second: str) -> Columns:
    """Return two columns of texts that are one sample."""
    return {"text": [first, second]}


_SENTENCES = _pair("sentence1", "sentence2")
_GLUE: Mapping[str, Columns] = {
    "cola": {"text": "sentence"},
    "sst2": {"text": "sentence"},
    "mrpc": _SENTENCES,
    "qqp": _pair("question1", "question2"),
    "stsb": _SENTENCES,
    "mnli": _pair("premise", "hypothesis"),
    "qnli": _pair("question", "sentence"),
    "rte": _SENTENCES,
    "wnli": _SENTENCES,
}
_TEXT: Columns = {"text": "text", "label": "label"}

FORMATS: Mapping[str, Format] = MappingProxyType(
    {
        "argilla": Format(_TEXT),
        "coco": Format({"image": "image", "label": "label", "key": "file_name"}),
        "fasttext": Format(_TEXT),
        FILES: Format(),
        "glue": Format({"label": "label"}, _GLUE),
        "huggingface": Format(),
        "imagenet": Format({"label": "folder"}),
        "label_studio": Format(_TEXT),
        "prodigy": Format(_TEXT),
        "squad": Format({**_pair("question", "context"), "label": "answers", "key": "id"}),
        "webdataset": Format({"label": "cls"}),
    }
)


def task_of(name: str, task: object, path: object) -> str | None:
    """Return the task of a format: the one that is named, or a folder of the path that is one."""
    tasks = FORMATS[name].tasks
    if isinstance(task, str):
        return task
    paths = [path] if isinstance(path, str) else path if isinstance(path, list) else []
    steps = [step for each in paths for step in reversed(str(each).split("/"))]
    plain = (step.lower().replace("-", "").replace("_", "") for step in steps)
    return next((step for step in plain if step in tasks), None)


def with_format(values: Mapping[str, object]) -> dict[str, object]:
    """Return what a domain says, completed by what the format of its source says.

    An option that is there stays, also if it is empty: `label: null` leaves known labels out.
    """
    source = values.get("source")
    named = source if isinstance(source, Mapping) else getattr(source, "__dict__", {})
    known = FORMATS.get(str(named.get("format")))
    if known is None:
        return dict(values)
    columns = dict(known.columns_of(task_of(named["format"], named.get("task"), named.get("path"))))
    if any(values.get(name) for name in SAMPLE):
        for name in SAMPLE:
            columns.pop(name, None)
    if values.get("ratings"):
        columns.pop("label", None)
    return {**columns, **values}
