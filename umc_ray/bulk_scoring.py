"""Score new data with the published specialists, outside any round."""

import base64
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from umc_ray.campaign.run import Run
from umc_ray.client import Client, VersionedScore
from umc_ray.cluster.stream import OnRows
from umc_ray.config.campaign import CampaignConfig
from umc_ray.errors import ConfigError, StoreError
from umc_ray.ingest.ingest import Manifest, ingest
from umc_ray.passes.encode import encode, features_table
from umc_ray.passes.score import ScoreWorker, score_parts
from umc_ray.records import QUARANTINE, SCORES, DomainKey, Part
from umc_ray.serving.messages import Sample, SampleError
from umc_ray.specialists.ensemble import EnsembleRef
from umc_ray.storage import Storage

ANSWERED = pa.schema(
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
"""Scores by an endpoint: labels by their names, and the version that answered."""


def score_new(run: Run, source: str, domain_key: DomainKey, output: str) -> Manifest:
    """Score a source as if it were of a domain; writes Parquet files and a quarantine to output.

    Each row has the sample's key and source, its best two labels with their probabilities, and
    all that a round knows of a sample. A pass that was killed goes on when called again.

    Raises:
        ConfigError: the campaign has no such domain.
        StoreError: no round is done yet, so there are no specialists.
        DataError: the source cannot be read.
    """
    config = _only(run.config, domain_key, source)
    if not run.storage.exists("published.json"):
        raise StoreError(f"{run.config.name} has no specialists yet: no round is done")
    published = EnsembleRef.from_json(
        run.storage.read_json("published.json")["ensembles"][domain_key.task]
    )
    work = _work(output)

    def step(name: str, rows: int | None = None) -> OnRows:
        return run.stages.follow(name, rows)

    manifest = ingest(config, domain_key, "pool", work, step("ingest"))
    encoder = config.tasks[domain_key.task].encoder
    encode({domain_key.task: encoder}, manifest.parts, work, step("encode", manifest.rows))
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
    score_parts(worker, manifest.parts, step("score", manifest.rows))
    target, classes = Storage(output), run.config.tasks[domain_key.task].labels
    for part in manifest.parts:
        target.write_table(f"{part.name}.parquet", _result(worker, part, classes))
    _finish(work, target)
    return manifest


def score_by_endpoint(
    client: Client, run: Run, source: str, domain_key: DomainKey, output: str
) -> Manifest:
    """Have an endpoint score a source as if it were of a domain; writes what `score_new` writes.

    There is a column more, the version that answered; samples that the endpoint cannot use are in
    the quarantine.

    Raises:
        ConfigError: the campaign has no such domain.
        DataError: the source cannot be read.
        EndpointError: the endpoint refuses, or does not answer.
    """
    config, work, target = _only(run.config, domain_key, source), _work(output), Storage(output)
    manifest = ingest(config, domain_key, "pool", work, run.stages.follow("ingest", None))
    on_rows = run.stages.follow("score", manifest.rows)
    for part in manifest.parts:
        rows = work.read_table(part.key("pool")).to_pylist()
        samples = (_sample(row["text"], row["image"]) for row in rows)
        answers = list(zip(rows, client.score(samples, domain_key.task), strict=True))
        found = [_answered(row, each) for row, each in answers if isinstance(each, VersionedScore)]
        bad = [
            {"source": row["source"], "row": row["key"], "reason": each.error}
            for row, each in answers
            if isinstance(each, SampleError)
        ]
        target.write_table(f"{part.name}.parquet", pa.Table.from_pylist(found, ANSWERED))
        if bad:
            work.write_table(part.key("quarantine/endpoint"), pa.Table.from_pylist(bad, QUARANTINE))
        on_rows(part.rows)
    _finish(work, target)
    return manifest


def _sample(text: str | None, image: bytes | None) -> Sample:
    return Sample(text=text, image=None if image is None else base64.b64encode(image).decode())


def _answered(row: dict[str, Any], answer: VersionedScore) -> dict[str, Any]:
    """Lay an answer out as a row of ANSWERED."""
    best = sorted(answer.probabilities.items(), key=lambda item: -item[1])[:2]
    labels = {f"label_{i}": label for i, (label, _) in enumerate(best, 1)}
    probs = {f"prob_{i}": prob for i, (_, prob) in enumerate(best, 1)}
    return {**row, **dict(answer), **labels, **probs}


def _work(output: str) -> Storage:
    return Storage(f"{output.rstrip('/')}/.work")


def _finish(work: Storage, target: Storage) -> None:
    """Keep the quarantine, and nothing else of what was on the way."""
    for i, name in enumerate(work.keys("quarantine")):
        target.write_bytes(f"quarantine/{i:05d}.parquet", work.read_bytes(name))
    work.delete("")


def _only(config: CampaignConfig, domain_key: DomainKey, source: str) -> CampaignConfig:
    """Return the campaign reduced to one domain that reads another source, without labels."""
    if domain_key not in config.domains():
        raise ConfigError(f"no domain {domain_key}, the campaign has {_names(config)}")
    source = source if "://" in source else str(Path(source).absolute())
    unlabeled = {"source": source, "test": None, "label": None, "ratings": None}
    domain = config.domains()[domain_key].model_copy(update=unlabeled)
    task = config.tasks[domain_key.task].model_copy(update={"domains": {domain_key.domain: domain}})
    return config.model_copy(update={"tasks": {domain_key.task: task}})


def _result(worker: ScoreWorker, part: Part, classes: list[str]) -> pa.Table:
    names = worker.storage.read_table(part.key("pool"), ["key", "source"])
    scores = worker.storage.read_table(worker.output_key(part))
    for column in ("label_1", "label_2"):
        labels = pa.array([classes[i] for i in scores[column].to_pylist()])
        scores = scores.set_column(scores.schema.get_field_index(column), column, labels)
    table = names.append_column("sample_id", scores["sample_id"])
    for column in scores.column_names[1:]:
        table = table.append_column(column, scores[column])
    return table


def _names(config: CampaignConfig) -> str:
    return ", ".join(str(domain_key) for domain_key in config.domains())
