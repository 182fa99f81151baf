"""What Label Studio shows as predictions: those of the published ensemble."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite

import pyarrow as pa

from umc_ray.annotation.store import Question
from umc_ray.campaign.publish import PUBLISHED, Publication, load_published, read_published
from umc_ray.campaign.run import Run
from umc_ray.campaign.state import round_folder
from umc_ray.records import DomainKey, FloatArray
from umc_ray.selection.labeled import PLACE, of_domain, read_embeddings


@dataclass(frozen=True)
class Prediction:
    """The ensemble's prediction for a sample; Label Studio shows low `score`s first."""

    answer: str
    score: float


def publication(run: Run) -> Publication | None:
    """Return what is published, if anything is."""
    if not run.storage.exists(PUBLISHED):
        return None
    return load_published(run.storage, run.config, read_published(run.storage))


def version_of(publication: Publication | None) -> str:
    """Name the version whose predictions these are."""
    return "none" if publication is None else publication.manifest.version


def predictions(
    run: Run, publication: Publication | None, task: str, questions: Sequence[Question]
) -> dict[int, Prediction]:
    """Return the newest ensemble's predictions by sample id; empty if nothing is published.

    Of synthetic samples, those are the labels that they were made for.
    """
    if publication is None or task not in publication.ensembles:
        return {}
    synthetic = {
        q.sample_id: Prediction(q.payload.made.label, 0.0) for q in questions if q.payload.made
    }
    questions = [each for each in questions if each.payload.made is None]
    if not questions:
        return synthetic
    ensemble, acquisition = publication.ensembles[task], run.config.selection.acquisition
    specialists = len(publication.manifest.ensembles[task].specialists)
    kind, places = ensemble.kind, _places(run, task, questions)
    tables = publication.manifest.ensembles[task].ref.tables(run.features[task])
    reads = {name: tables[name] for name in ensemble.reads}
    found = synthetic
    for domain in sorted(set(places["domain"].to_pylist())):
        own = of_domain(places, DomainKey(task, domain))
        measures = ensemble.measures(_embeddings(run, task, reads, own), domain)
        answers = kind.predict(measures.mean_NC, ensemble.decision_in(domain))
        priorities = kind.acquisition(measures, acquisition).tolist()
        rows = zip(own["sample_id"].to_pylist(), answers, priorities, strict=True)
        found |= {
            sample_id: Prediction(answer, 1 - kind.urgency(priority, acquisition, specialists))
            for sample_id, answer, priority in rows
            if isfinite(priority)  # a version rolled back to may lack outputs of newer samples
        }
    return found


def _places(run: Run, task: str, questions: Sequence[Question]) -> pa.Table:
    """Return where the samples of a task's questions are."""
    rounds = sorted({question.round for question in questions})
    keys = [f"{round_folder(number)}/batch.parquet" for number in rounds]
    filters = [
        ("task", "=", task),
        ("sample_id", "in", [question.sample_id for question in questions]),
    ]
    return pa.concat_tables(run.storage.read_table(key, PLACE, filters) for key in keys)


def _embeddings(
    run: Run, task: str, tables: Mapping[str, str], places: pa.Table
) -> dict[str, FloatArray]:
    """Read the rows of samples in each of some tables of their task."""
    parts = [part for part in run.pools if part.domain_key.task == task]
    return {
        name: read_embeddings(run.storage, parts, table, places) for name, table in tables.items()
    }
