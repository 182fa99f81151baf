"""Score new data with the published specialists, outside of any round."""

import base64
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from umc_ray.campaign.publish import (
    PUBLISHED,
    PublishedEnsemble,
    load_verified,
    read_published,
)
from umc_ray.campaign.run import Run
from umc_ray.client import Client, EndpointError, VersionedScore
from umc_ray.config.campaign import CampaignConfig
from umc_ray.config.task import TaskConfig
from umc_ray.errors import ConfigError, StoreError
from umc_ray.ingest.groups import read_groups
from umc_ray.ingest.ingest import ingest
from umc_ray.ingest.manifest import Manifest
from umc_ray.methods.text_pair import plain
from umc_ray.passes.encode import Encoding, encode_all, features_table
from umc_ray.passes.outputs import output_encodings
from umc_ray.passes.score import (
    PROBABILITY,
    ScoreWorker,
    probability_fields,
    score_parts,
    score_schema,
)
from umc_ray.records import POOL, QUARANTINE, DomainKey, Part
from umc_ray.serving.messages import Sample, SampleError
from umc_ray.specialists.ensemble import Ensemble, EnsembleRef
from umc_ray.storage import Storage
from umc_ray.tasks.task import TaskKind

ORIGIN = ["key", "source", "sample_id"]
"""The columns that say which sample a row is of."""


def score_new(
    run: Run, source: str, domain_key: DomainKey, output: str, probabilities: bool = False
) -> Manifest:
    """Score a source as if it belonged to a domain; write Parquet files and a quarantine.

    Each row has the sample's key and source, and what a round stores of it: the measures and the
    prediction of the task's kind, labels by name. Exact duplicates have rows of their own, after
    the first of them, without a source. With `probabilities`, there is a column
    `probability_<label>` for each label. If a call is interrupted, the next one resumes it.

    Raises:
        ConfigError: the campaign has no such domain, or its task no labels to have probabilities.
        StoreError: nothing is published yet, or not for this task.
        DataError: the source cannot be read, or the specialists are not those that were published.
    """
    config = _single_domain(run.config, domain_key, source)
    _check_labels(run.kinds[domain_key.task], probabilities)
    task = config.tasks[domain_key.task]
    work, target = _work_storage(output), Storage(output)
    published = _published(run, domain_key.task)
    ensemble = _copied(run.storage, work, task, published)
    manifest = ingest(config, domain_key, "pool", work, partial(run.stages.follow, "ingest"))
    encodings = _encodings(task, domain_key.task, ensemble, published.ref, work)
    on_encoded = run.stages.follow("encode", manifest.rows * len(encodings))
    encode_all(encodings, manifest.parts, work, on_encoded)
    worker = _worker(run, work, domain_key, published, ensemble, probabilities)
    score_parts(worker, manifest.parts, run.stages.follow("score", manifest.rows))
    for part in manifest.parts:
        target.write_table(f"{part.name}.parquet", _named_scores(worker, part, ensemble.kind))
    _finish(work, target)
    return manifest


def _published(run: Run, task: str) -> PublishedEnsemble:
    if not run.storage.exists(PUBLISHED):
        raise StoreError(f"{run.config.name} has no specialists yet: no round is finished")
    ensembles = read_published(run.storage).ensembles
    if task not in ensembles:
        raise StoreError(f"no specialists of {task} are published, only of {', '.join(ensembles)}")
    return ensembles[task]


def _copied(
    storage: Storage, work: Storage, task: TaskConfig, published: PublishedEnsemble
) -> Ensemble:
    """Copy an ensemble to where workers read it, and check that the copy is what was published."""
    work.delete(published.folder)  # a call that was interrupted may have copied others
    for name in storage.keys(published.folder):
        work.write_bytes(name, storage.read_bytes(name))
    return load_verified(work, task, published)


def _encodings(
    config: TaskConfig, task: str, ensemble: Ensemble, ref: EnsembleRef, work: Storage
) -> dict[tuple[str, str], Encoding]:
    """Return what makes the tables that an ensemble reads."""
    tuned = output_encodings(ref, config, work)
    frozen = {
        name: Encoding(encoder, features_table(encoder))
        for name, encoder in config.named_encoders.items()
        if name in ensemble.reads
    }
    return {(task, name): encoding for name, encoding in {**frozen, **tuned}.items()}


def _worker(
    run: Run,
    work: Storage,
    domain_key: DomainKey,
    published: PublishedEnsemble,
    ensemble: Ensemble,
    probabilities: bool,
) -> ScoreWorker:
    task = domain_key.task
    return ScoreWorker(
        storage=work,
        table=f"{published.version}-probabilities" if probabilities else published.version,
        ensembles={task: published.ref},
        kinds={task: ensemble.kind},
        features={task: run.features[task]},
        excluded={domain_key: np.empty(0, dtype=np.int64)},
        acquisition=run.config.selection.acquisition,
        top=0,
        with_probabilities=probabilities,
        groups=run.config.groups_with_thresholds(),
    )


def _named_scores(worker: ScoreWorker, part: Part, kind: TaskKind) -> pa.Table:
    """Return a part's scores with keys, sources and label names."""
    pool = worker.storage.read_table(part.key("pool"), ["key", "source", "aliases"])
    scores = kind.named(worker.storage.read_table(worker.output_key(part)))
    table = pool.select(["key", "source"])
    for column in scores.column_names:
        table = table.append_column(column, scores[column])
    return _with_duplicates(table, pool["aliases"].to_pylist())


def _with_duplicates(table: pa.Table, aliases: Sequence[Sequence[str]]) -> pa.Table:
    """Repeat rows for their exact duplicates, under the keys of these; they name no source."""
    rows = np.repeat(np.arange(len(table)), [1 + len(keys) for keys in aliases])
    is_first = np.diff(rows, prepend=-1) > 0
    named = zip(table["key"].to_pylist(), aliases, strict=True)
    keys = pa.array([key for first, others in named for key in (first, *others)], pa.string())
    repeated = table.take(pa.array(rows))
    sources = pc.if_else(pa.array(is_first), repeated["source"], pa.scalar(None, pa.string()))
    for name, column in (("key", keys), ("source", sources)):
        place = repeated.column_names.index(name)
        repeated = repeated.set_column(place, repeated.schema.field(name), column)
    return repeated


def _endpoint_schema(kind: TaskKind, probabilities: bool) -> pa.Schema:
    """Return the same columns as of `_named_scores`, and the version of the specialists."""
    scores = kind.named(score_schema(kind).empty_table()).schema
    origin = [POOL.field(name) for name in ORIGIN]
    more = probability_fields(kind) if probabilities else []
    return pa.schema([*origin, *list(scores)[1:], *more, ("version", pa.string())])


def score_by_endpoint(
    client: Client,
    run: Run,
    source: str,
    domain_key: DomainKey,
    output: str,
    probabilities: bool = False,
) -> Manifest:
    """Score a source through an endpoint; write the same files as `score_new`.

    There is one more column, `version`. Samples that the endpoint finds invalid are in the
    quarantine.

    Raises:
        ConfigError: the campaign has no such domain, or its task no labels to have probabilities.
        DataError: the source cannot be read.
        EndpointError: the endpoint refuses a request or does not respond.
    """
    config, kind = _single_domain(run.config, domain_key, source), run.kinds[domain_key.task]
    _check_labels(kind, probabilities)
    schema = _endpoint_schema(kind, probabilities)
    work, target = _work_storage(output), Storage(output)
    manifest = ingest(config, domain_key, "pool", work, partial(run.stages.follow, "ingest"))
    on_rows = run.stages.follow("score", manifest.rows)
    groups = run.config.groups_with_thresholds().get(domain_key, [])
    for part in manifest.parts:
        _score_part(client, part, groups, schema, work, target)
        on_rows(part.rows)
    _finish(work, target)
    return manifest


def _check_labels(kind: TaskKind, probabilities: bool) -> None:
    if probabilities and not kind.labels:
        raise ConfigError(
            f"a task of kind {kind.name} has no labels, so there is no probability of each: "
            "score without --probabilities"
        )


def _score_part(
    client: Client,
    part: Part,
    groups: Sequence[str],
    schema: pa.Schema,
    work: Storage,
    target: Storage,
) -> None:
    rows = work.read_table(part.key("pool")).to_pylist()
    named = read_groups(work, part, groups) if groups else {}
    samples = (
        _sample(row["text"], row["image"], {name: str(named[name][i]) for name in groups})
        for i, row in enumerate(rows)
    )
    key = part.domain_key
    found = client.score(samples, key.task, columns=True, domain=key.domain)
    results = list(zip(rows, found, strict=True))
    if any(isinstance(result, VersionedScore) and result.by_heads for _, result in results):
        raise EndpointError(
            "the endpoint is overloaded and left fine-tuned specialists out, so its scores differ "
            "from those of the others: score again when it is not"
        )
    scores = [
        {**row, **(result.columns or {}), **_probabilities(result), "version": result.version}
        for row, result in results
        if isinstance(result, VersionedScore)
    ]
    rejected = [
        {"source": row["source"], "row": row["key"], "reason": result.error}
        for row, result in results
        if isinstance(result, SampleError)
    ]
    table = pa.Table.from_pylist(scores, schema)
    aliases = [row["aliases"] for row in scores]
    target.write_table(f"{part.name}.parquet", _with_duplicates(table, aliases))
    if rejected:
        quarantine = pa.Table.from_pylist(rejected, QUARANTINE)
        work.write_table(part.key("quarantine/endpoint"), quarantine)


def _probabilities(result: VersionedScore) -> dict[str, float]:
    return {f"{PROBABILITY}{label}": value for label, value in result.probabilities.items()}


def _sample(text: str | None, image: bytes | None, group: dict[str, str]) -> Sample:
    encoded = None if image is None else base64.b64encode(image).decode()
    given = None if text is None else plain(text)
    return Sample(text=given, image=encoded, group=group or None)


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
    before = config.domain(domain_key)
    source = source if "://" in source else str(Path(source).absolute())
    others = dict.fromkeys(("test", "target", "label", "ratings"))
    domain = before.model_copy(update={"source": source, **others, "shifted": {}, "keep": []})
    return config.reduced_to(domain_key, domain)
