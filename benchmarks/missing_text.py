"""Do texts of a small language model help a class of which the pool has none?

    python -m benchmarks.missing_text [--quick] [--check] [--repeats 2]

TREC questions. Two classes, drawn by seed, have five labels each and nothing more in the pool; 100
labels are bought in two rounds by `run_campaign`, with balanced classes: by the default selection;
and with up to half of them for texts that a language model in a folder of this machine writes for
what is lacking. The folder is named by UMC_BENCH_MODEL and has safetensors; SmolLM2-135M was used.
A stand-in for people validates: a logistic regression of all real questions, which fixes a label
where it is sure (.5) of another one, and rejects a text where it is sure of none. Recall of the
worst class and macro F1 on 1,500 other questions, paired by seed.
"""

import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table
from sklearn.linear_model import LogisticRegression

from benchmarks.frame import Figure, Options, Report, local_ray, main
from benchmarks.refill import EACH, POOL, Plan, run_arms, run_by_sheets, write_campaigns
from benchmarks.sets import Labeled, questions, word_encoder
from umc_ray.campaign.run import Run
from umc_ray.campaign.synthetic import standings_of
from umc_ray.diversity.generators.registry import embed_with

MODEL = "UMC_BENCH_MODEL"
NAMES = {
    "ABBR": "an abbreviation",
    "DESC": "a description or definition",
    "ENTY": "a thing",
    "HUM": "a person",
    "LOC": "a place",
    "NUM": "a number",
}
SELECTED, WRITTEN = "selected", "written"
SURE = 0.5


@dataclass(frozen=True)
class Outcome:
    """What the test says at the end, and what became of the texts."""

    worst: float
    macro_f1: float
    accepted: int
    fixed: int
    rejected: int


def run(options: Options) -> Report:
    """Run both campaigns of all seeds."""
    rows = [(text, NAMES[kind]) for text, kind in dict.fromkeys(questions())]
    writer = {
        "kind": "language_model",
        "path": os.environ[MODEL],
        "instruction": "short questions that ask for",
        "max_tokens": 32,
    }
    refine = {"share": 0.5, "samples_per_round": 24, "generators": {"writer": writer}}
    arms: Mapping[str, dict[str, Any]] = {SELECTED: {}, WRITTEN: {"refine": refine}}
    plan = Plan(arms, budget=100, rounds=2, left=EACH / POOL)
    person = Person.of(rows)
    with local_ray(2):
        seeds = [_play(rows, seed, plan, person) for seed in range(options.repeats)]
    figures = {
        f"{what}_{WRITTEN}_over_{SELECTED}": Figure(
            "points",
            [100 * (getattr(s[WRITTEN], what) - getattr(s[SELECTED], what)) for s in seeds],
        )
        for what in ("worst", "macro_f1")
    }
    return Report(
        {"bought": plan.budget, "seeds": options.repeats}, figures, tables=[_table(seeds)]
    )


def _table(seeds: Sequence[Mapping[str, Outcome]]) -> Table:
    table = Table(title="means over seeds")
    columns = ("worst", "macro_f1", "accepted", "fixed", "rejected")
    for name in ("arm", *columns):
        table.add_column(name)
    for arm in seeds[0]:
        means = [np.mean([getattr(each[arm], name) for each in seeds]) for name in columns]
        table.add_row(arm, *(f"{each:.3f}" for each in means[:2]), *(f"{n:.0f}" for n in means[2:]))
    return table


@dataclass(frozen=True)
class Person:
    """Says of a text what it asks for."""

    model: LogisticRegression

    @classmethod
    def of(cls, rows: Sequence[Labeled]) -> "Person":
        """Learn from all real questions."""
        embeddings_ND = embed_with(word_encoder())([text for text, _ in rows])
        return cls(LogisticRegression(C=30, max_iter=300).fit(embeddings_ND, [c for _, c in rows]))

    def answer(self, text: str) -> str:
        """Return a label, or skip."""
        (probs_C,) = self.model.predict_proba(embed_with(word_encoder())([text]))
        return str(self.model.classes_[probs_C.argmax()]) if probs_C.max() >= SURE else "skip"


def _play(rows: Sequence[Labeled], seed: int, plan: Plan, person: Person) -> dict[str, Outcome]:
    with tempfile.TemporaryDirectory() as folder:
        truth, _ = write_campaigns(Path(folder), rows, True, seed, plan)
        return run_arms(Path(folder), plan.arms, lambda run: _outcome(run, truth, person))


def _outcome(run: Run, truth: Mapping[str, str], person: Person) -> Outcome:
    run_by_sheets(run, lambda row: truth.get(row["sample_id"]) or person.answer(row["sample"]))
    (metrics,) = run.round_metrics(run.finished_rounds)[-1:]
    quality = metrics.domains["task/domain"].test
    assert quality is not None
    recalls = [e.value for name, e in quality.figures.items() if name.startswith("recall of")]
    standing = standings_of(run, run.finished_rounds)["standing"].to_pylist()
    counts = [standing.count(each) for each in ("accepted", "fixed", "rejected")]
    return Outcome(min(recalls), quality.figures["macro F1"].value, *counts)


if __name__ == "__main__":
    main("missing_text", __doc__, run, repeats=2)
