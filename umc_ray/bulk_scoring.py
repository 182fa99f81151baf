"""Score new data with the published specialists, outside of any round."""

import base64
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from umc_ray.campaign.run import Run
from umc_ray.client import Client, VersionedScore
from umc_ray.config.campaign import CampaignConfig
from umc_ray.errors import ConfigError, StoreError
from umc_ray.ingest.ingest import Manifest, ingest
from umc_ray.passes.encode import encode, features_table
from umc_ray.passes.score import ScoreWorker, score_parts
from umc_ray.records import QUARANTINE, SCORES, DomainKey, Part
from umc_ray.serving.messages import Sample, SampleError
from umc_ray.specialists.ensemble import EnsembleRef
from umc_ray.storage import Storage

ENDPOINT_SCORES = pa.schema(
    [
        ("key", pa.string()),
        ("source", pa.string()),
        *(
            (field.name, pa.string() if field.name.startswith("label_") else field.type)
            for field in SCORES
        ),
        ("version", pa.string()),
    ]
)
"""Scores from an endpoint: labels by name, and the version of the specialists."""


def score_new(run: Run, source: str, domain_key: DomainKey, output: str) -> Manifest:
    """Score a source as if it belonged to a domain; write Parquet files and a quarantine.

    Each row has the sample's key and source, its two most likely labels with their probabilities,
    and the scores that a round stores. If a call is interrupted, the next one resumes it.

    Raises:
        ConfigError: the campaign has no such domain.
        StoreError: nothing is published yet.
        DataError: the source cannot be read.
    """
    config = _single_domain(run.config, domain_key, source)
    published = _published(run, domain_key.task)
    work, target = _work_storage(output), Storage(output)
    manifest = ingest(config, domain_key, "pool", work, run.stages.follow("ingest", None))
    encoder = config.tasks[domain_key.task].encoder
    on_encoded = run.stages.follow("encode", manifest.rows)
    encode({domain_key.task: encoder}, manifest.parts, work, on_encoded)
    for name in run.storage.keys(published.folder):
        work.write_bytes(name, run.storage.read_bytes(name))
    worker = ScoreWorker(
        storage=work,
        table=published.version,
        ensembles={domain_key.task: published},
        features={domain_key.task: features_table(encoder)},
        excluded={domain_key: np.empty(0, dtype=np.int64)},
        acquisition=run.config.selection.acquisition,
        top=0,
    )
    score_parts(worker, manifest.parts, run.stages.follow("score", manifest.rows))
    labels = run.config.tasks[domain_key.task].labels
    for part in manifest.parts:
        target.write_table(f"{part.name}.parquet", _named_scores(worker, part, labels))
    _finish(work, target)
    return manifest


def _published(run: Run, task: str) -> EnsembleRef:
    if not run.storage.exists("published.json"):
        raise StoreError(f"{run.config.name} has no specialists yet: no round is finished")
    return EnsembleRef.from_json(run.storage.read_json("published.json")["ensembles"][task])


def _named_scores(worker: ScoreWorker, part: Part, labels: list[str]) -> pa.Table:
    """Return a part's scores with keys, sources and label names."""
    origin = worker.storage.read_table(part.key("pool"), ["key", "source"])
    scores = worker.storage.read_table(worker.output_key(part))
    for column in ("label_1", "label_2"):
        names = pa.array([labels[i] for i in scores[column].to_pylist()])
        scores = scores.set_column(scores.schema.get_field_index(column), column, names)
    table = origin.append_column("sample_id", scores["sample_id"])
    for column in scores.column_names[1:]:
        table = table.append_column(column, scores[column])
    return table


def score_by_endpoint(
    client: Client, run: Run, source: str, domain_key: DomainKey, output: str
) -> Manifest:
    """Score a source through an endpoint; write the same files as `score_new`.

    There is one more column, `version`. Samples that the endpoint finds invalid are in the
    quarantine.

    Raises:
        ConfigError: the campaign has no such domain.
        DataError: the source cannot be read.
        EndpointError: the endpoint refuses a request or does not respond.
    """
    config = _single_domain(run.config, domain_key, source)
    work, target = _work_storage(output), Storage(output)
    manifest = ingest(config, domain_key, "pool", work, run.stages.follow("ingest", None))
    on_rows = run.stages.follow("score", manifest.rows)
    for part in manifest.parts:
        _score_part(client, part, work, target)
        on_rows(part.rows)
    _finish(work, target)
    return manifest


def _score_part(client: Client, part: Part, work: Storage, target: Storage) -> None:
    rows = work.read_table(part.key("pool")).to_pylist()
    samples = (_sample(row["text"], row["image"]) for row in rows)
    results = list(zip(rows, client.score(samples, part.domain_key.task), strict=True))
    scores = [
        _score_row(row, result) for row, result in results if isinstance(result, VersionedScore)
    ]
    rejected = [
        {"source": row["source"], "row": row["key"], "reason": result.error}
        for row, result in results
        if isinstance(result, SampleError)
    ]
    target.write_table(f"{part.name}.parquet", pa.Table.from_pylist(scores, ENDPOINT_SCORES))
    if rejected:
        quarantine = pa.Table.from_pylist(rejected, QUARANTINE)
        work.write_table(part.key("quarantine/endpoint"), quarantine)


def _sample(text: str | None, image: bytes | None) -> Sample:
    return Sample(text=text, image=None if image is None else base64.b64encode(image).decode())


def _score_row(row: dict[str, Any], score: VersionedScore) -> dict[str, Any]:
    """Return a row of ENDPOINT_SCORES."""
    best = sorted(score.probabilities.items(), key=lambda item: -item[1])[:2]
    labels = {f"label_{i}": label for i, (label, _) in enumerate(best, 1)}
    probs = {f"prob_{i}": prob for i, (_, prob) in enumerate(best, 1)}
    return {**row, **dict(score), **labels, **probs}


def _work_storage(output: str) -> Storage:
    """Return the storage for intermediate files."""
    return Storage(f"{output.rstrip('/')}/.work")


def _finish(work: Storage, target: Storage) -> None:
    """Keep the quarantine, and delete all other intermediate files."""
    for i, name in enumerate(work.keys("quarantine")):
        target.write_bytes(f"quarantine/{i:05d}.parquet", work.read_bytes(name))
    work.delete("")


def _single_domain(config: CampaignConfig, domain_key: DomainKey, source: str) -> CampaignConfig:
    """Return the campaign reduced to one domain with another, unlabeled source."""
    if domain_key not in config.domains():
        names = ", ".join(str(each) for each in config.domains())
        raise ConfigError(f"no domain {domain_key}, the campaign has {names}")
    source = source if "://" in source else str(Path(source).absolute())
    unlabeled = {"source": source, "test": None, "label": None, "ratings": None}
    domain = config.domains()[domain_key].model_copy(update=unlabeled)
    task = config.tasks[domain_key.task].model_copy(update={"domains": {domain_key.domain: domain}})
    return config.model_copy(update={"tasks": {domain_key.task: task}})
