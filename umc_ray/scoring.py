"""Score new data with the published specialists, outside any round."""

from pathlib import Path

import numpy as np
import pyarrow as pa

from umc_ray.config import CampaignConfig
from umc_ray.errors import ConfigError, StoreError
from umc_ray.pipeline.ensemble import EnsembleRef, ScoreWorker, score_parts
from umc_ray.pipeline.features import encode, features_table
from umc_ray.pipeline.ingest import Manifest, ingest
from umc_ray.pipeline.stream import OnRows
from umc_ray.records import Arm, Part
from umc_ray.run import Run
from umc_ray.storage import Storage


def score_new(run: Run, source: str, arm: Arm, output: str) -> Manifest:
    """Score a source as if it were of a domain; writes Parquet files and a quarantine to output.

    Each row has the sample's key and source, its best two labels with their probabilities, and
    all that a round knows of a sample. A pass that was killed goes on when called again.

    Raises:
        ConfigError: the campaign has no such domain.
        StoreError: no round is done yet, so there are no specialists.
        DataError: the source cannot be read.
    """
    domain = run.config.domains().get(arm)
    if domain is None:
        raise ConfigError(f"no domain {arm}, the campaign has {_names(run.config)}")
    if not run.storage.exists("published.json"):
        raise StoreError(f"{run.config.name} has no specialists yet: no round is done")
    published = EnsembleRef.from_json(
        run.storage.read_json("published.json")["ensembles"][arm.task]
    )
    work = Storage(f"{output.rstrip('/')}/.work")
    config = _only(run.config, arm, source)

    def step(name: str, rows: int | None = None) -> OnRows:
        return run.follow(name, rows)

    manifest = ingest(config, arm, "pool", work, step("ingest"))
    encoder = config.tasks[arm.task].encoder
    encode({arm.task: encoder}, manifest.parts, work, step("encode", manifest.rows))
    for name in run.storage.keys(published.folder):
        work.write_bytes(name, run.storage.read_bytes(name))
    worker = ScoreWorker(
        storage=work,
        table=published.version,
        ensembles={arm.task: published},
        features={arm.task: features_table(encoder)},
        asked={arm: np.empty(0, dtype=np.int64)},
        acquisition=run.config.selection.acquisition,
        top=0,
    )
    score_parts(worker, manifest.parts, step("score", manifest.rows))
    target, classes = Storage(output), run.config.tasks[arm.task].labels
    for part in manifest.parts:
        target.write_table(f"{part.name}.parquet", _result(worker, part, classes))
    for i, name in enumerate(work.keys("quarantine")):
        target.write_bytes(f"quarantine/{i:05d}.parquet", work.read_bytes(name))
    work.delete("")
    return manifest


def _only(config: CampaignConfig, arm: Arm, source: str) -> CampaignConfig:
    """Return the campaign reduced to one domain that reads another source, without labels."""
    source = source if "://" in source else str(Path(source).absolute())
    unlabeled = {"source": source, "test": None, "label": None, "ratings": None}
    domain = config.domains()[arm].model_copy(update=unlabeled)
    task = config.tasks[arm.task].model_copy(update={"domains": {arm.domain: domain}})
    return config.model_copy(update={"tasks": {arm.task: task}})


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
    return ", ".join(str(arm) for arm in config.domains())
