"""Synthetic samples of a campaign: brought in, encoded, validated by people, and what stands.

People answer about them in the round's own store; a round's batch, labels and metrics are of real
samples alone. What stands is made of all answers anew in each round, so that a changed answer
counts from the next one on.
"""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pyarrow as pa

from umc_ray.annotation.events import SampleKey
from umc_ray.annotation.questions import validation_questions
from umc_ray.annotation.ratings import ratings
from umc_ray.annotation.review import decisions
from umc_ray.annotation.store import Answer, Question
from umc_ray.annotation.votes import votes_of
from umc_ray.campaign.gaps import made_for
from umc_ray.campaign.refill import is_on, share_to_validate
from umc_ray.campaign.run import Run
from umc_ray.campaign.state import VALIDATION, RunState, round_folder
from umc_ray.diversity.content import imported
from umc_ray.diversity.generators.files import read_files
from umc_ray.diversity.synthetic import read_origins
from umc_ray.diversity.validation import (
    SyntheticSamples,
    Verdict,
    acceptance,
    choose_validation,
    standings,
)
from umc_ray.ingest.forgotten import forgotten_ids
from umc_ray.passes.encode import encode, encode_all
from umc_ray.passes.outputs import tuned_encodings
from umc_ray.records import BATCH, STANDINGS, DomainKey, Made
from umc_ray.selection.labeled import read_embeddings
from umc_ray.selection.predictions import label_probabilities
from umc_ray.specialists.ensemble import EnsembleRef
from umc_ray.tasks.task import TaskKind, agreement

STANDING, ACCEPTANCE = "standings.parquet", "synthetic.json"
"""In a round's folder: what has become of each synthetic sample, and a summary of it."""

MADE_IN = ("synthetic", "pool/synthetic", "oracle/synthetic", "generated")
"""The folders of synthetic samples, and of what generators answered."""

SampleId = tuple[str, int]  # task, sample_id


def bring_in_synthetic(run: Run) -> None:
    """Read the files of generators that have some, and encode what is new.

    Raises:
        ConfigError: the function that refuses unsafe contents is not here.
    """
    if run.config.refine.unsafe is not None:
        imported(run.config.refine.unsafe)  # not only once people have labeled
    if any(each.kind == "files" for each in run.config.refine.generators.values()):
        run.stages.step(
            "synthetic files", lambda _: read_files(run.config, run.storage), writes=MADE_IN
        )
    encode_synthetic(run)


def encode_synthetic(run: Run) -> None:
    """Encode the synthetic samples that are not encoded yet; whoever makes some calls it."""
    parts = run.synthetic
    if not parts:
        return
    encoders = {name: task.named_encoders for name, task in run.config.tasks.items()}
    labels = run.config.placement.scoring
    run.stages.step(
        "encode synthetic samples",
        lambda on_rows: encode(encoders, parts, run.storage, on_rows, labels),
        rows=sum(part.rows * len(encoders[part.domain_key.task]) for part in parts),
        writes=["features"],
    )
    run.__dict__.pop("backend", None)  # it shows them


def compute_outputs_of_synthetic(run: Run, ensembles: Mapping[str, EnsembleRef]) -> None:
    """Compute the outputs of fine-tuned specialists for synthetic samples."""
    tuned = {task: ref for task, ref in ensembles.items() if ref.tuned}
    parts = [part for part in run.synthetic if part.domain_key.task in tuned]
    if parts:
        encodings = tuned_encodings(tuned, run.config.tasks, parts, run.storage)
        encode_all(encodings, parts, run.storage, labels=run.config.placement.scoring)


def open_validation(run: Run, number: int, budget: int) -> pa.Table:
    """Return what people validate in a round, chosen once: before the round's budget is split."""
    folder = round_folder(number)
    key = f"{folder}/{VALIDATION}"
    is_split = run.storage.exists(f"{folder}/allocation.json")
    if not run.storage.exists(key) and (is_split or not run.synthetic):
        return BATCH.empty_table()
    return run.stages.run(key, pa.Table, lambda _: choose_synthetic(run, number, budget))


def choose_synthetic(run: Run, number: int, budget: int) -> pa.Table:
    """Choose what people validate in a round: at most a share of its budget.

    At least one question of a round is about the pool.
    """
    n = min(int(share_to_validate(run, number) * budget + 1e-9), budget - 1)
    if n < 1 or not run.synthetic:
        return BATCH.empty_table()
    table = _of_generators_on(run, number, standings_now(run, number - 1))
    training = run.training(number)
    ensembles = {} if training is None else training.ensembles
    compute_outputs_of_synthetic(run, ensembles)
    probability_N = label_probabilities(
        run.storage,
        ensembles,
        run.kinds,
        run.features,
        run.synthetic,
        table,
        table["made_for"].to_pylist(),
    )
    asked = frozenset(each.sample_id for each in _questions(run, number - 1))
    return choose_validation(table, asked, probability_N, n, run.config.seed)


def _of_generators_on(run: Run, number: int, table: pa.Table) -> pa.Table:
    """Leave out samples of generators that get no labels in a round for what they were made for."""
    rows = table.select(["task", "domain", "gap", "made_for", "generator"]).to_pylist()
    kinds = [
        (
            DomainKey(row["task"], row["domain"]),
            made_for(row["gap"], row["made_for"]),
            row["generator"],
        )
        for row in rows
    ]
    on = {kind for kind in set(kinds) if is_on(run, number, *kind)}
    return table.filter(pa.array([kind in on for kind in kinds], pa.bool_()))


def questions_to_validate(run: Run, number: int, batch: pa.Table) -> list[Question]:
    """Make the questions of a round's synthetic samples."""
    if not len(batch):
        return []
    rows = read_origins(run.storage, run.synthetic).to_pylist()
    made = {
        row["sample_id"]: Made(row["generator"], row["label"], tuple(row["exemplars"]))
        for row in rows
    }
    return validation_questions(run.config, number, batch, made)


def settle(run: Run, number: int) -> SyntheticSamples:
    """Store what stands after a round, and sum it up."""
    folder, seed = round_folder(number), run.config.seed
    table = run.stages.run(f"{folder}/{STANDING}", pa.Table, lambda _: standings_now(run, number))
    return run.stages.run(
        f"{folder}/{ACCEPTANCE}", SyntheticSamples, lambda _: acceptance(table, number, seed)
    )


def standings_of(run: RunState, number: int) -> pa.Table:
    """Return what had become of each synthetic sample after a round; empty if there was none."""
    key = f"{round_folder(number)}/{STANDING}"
    if not run.storage.exists(key):
        return STANDINGS.empty_table()
    return run.storage.read_table(key).replace_schema_metadata()


def standings_now(run: Run, rounds: int) -> pa.Table:
    """Return what has become of all synthetic samples, by the answers of the first rounds."""
    samples = read_origins(run.storage, run.synthetic)
    forgotten = set(forgotten_ids(run.storage).tolist())
    withdrawn = frozenset(forgotten | _without_embedding(run, samples))
    rate = run.config.refine.accept_rate
    return standings(samples, _verdicts(run, rounds), withdrawn, rate, run.config.seed)


def standings_changed(run: Run, number: int) -> bool:
    """Whether people have changed what they say of synthetic samples since a round."""
    if not run.storage.exists(f"{round_folder(number)}/{STANDING}"):
        return False
    return not standings_of(run, number).equals(standings_now(run, number))


def _without_embedding(run: Run, samples: pa.Table) -> set[int]:
    """Return the ids of samples that an encoder could not read."""
    found: set[int] = set()
    for task, tables in run.features.items():
        rows = samples.filter(pa.array([each == task for each in samples["task"].to_pylist()]))
        ids = rows["sample_id"].to_numpy()
        for table in tables.values() if len(rows) else ():
            x_ND = read_embeddings(run.storage, run.synthetic, table, rows)
            found |= set(ids[~np.isfinite(x_ND).all(axis=1)].tolist())
    return found


def _questions(run: Run, rounds: int) -> list[Question]:
    questions = run.store.questions(run.config.name)
    return [each for each in questions if each.payload.made and each.round <= rounds]


def _verdicts(run: Run, rounds: int) -> dict[SampleId, Verdict]:
    """Return what people say of synthetic samples, by task and id."""
    asked = {(each.task, each.sample_id): each for each in _questions(run, rounds)}
    answers: dict[SampleId, list[Answer]] = {}
    for answer in run.store.answers(run.config.name):
        if (key := (answer.task, answer.sample_id)) in asked:
            answers.setdefault(key, []).append(answer)
    decided = {key[1:]: each for key, each in decisions(run.store, run.config.name).items()}
    costs, scores = run.config.costs(), ratings(run.store, run.config.name)
    return {
        key: replace(
            _verdict(run.kinds[key[0]], given, costs, decided.get(key)),
            quality=_quality(given, scores),
        )
        for key, given in answers.items()
    }


def _quality(answers: list[Answer], scores: Mapping[tuple[SampleKey, str], int]) -> float | None:
    """Return the mean score of a sample, by those whose answers count; None: nobody gave one."""
    found = [scores[key] for each in answers if (key := (each.key, each.annotator)) in scores]
    return sum(found) / len(found) if found else None


def _verdict(
    kind: TaskKind,
    answers: list[Answer],
    costs: Mapping[DomainKey, float],
    decision: Answer | None,
) -> Verdict:
    """Return what the answers to a question say together; half of them reject a sample."""
    first = answers[0]
    labels = [each.label for each in answers if each.label is not None]
    cost = len(answers) * costs[DomainKey(first.task, first.domain)]
    label = None
    if decision is not None:
        label = decision.label
    elif 2 * len(labels) > len(answers):
        label = kind.consensus(votes_of(answers))[first.sample_id]
    agreed = 1.0 if label is None or not labels else agreement(kind, label, labels)
    return Verdict(label, len(labels), agreed, first.round, cost)
