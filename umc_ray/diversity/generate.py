"""Have a generator make what is wanted, in shards on the cluster.

A shard is stored once and atomically, under a name that is made of all that decides its samples. So
after a kill, what is stored is not generated again; and what people were shown stays as it was.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import pyarrow as pa

from umc_ray.cluster.resources import ANY_NODE, Labels, available_slots
from umc_ray.cluster.stream import Compute, OnRows, Summary, stream
from umc_ray.config.encoder import EncoderConfig
from umc_ray.config.generator import GENERATIVE, GeneratorConfig
from umc_ray.diversity.generators.generator import Generated, Payload, Request
from umc_ray.diversity.generators.registry import load_generator, version_of
from umc_ray.methods.identity import content_hash, fingerprint
from umc_ray.storage import Storage

SHARD = 16
"""Samples of a shard: a small language model needs half a minute for them."""

GENERATED = pa.schema(
    [
        ("text", pa.string()),  # or an image, never both
        ("image", pa.binary()),
        ("label", pa.string()),
        ("exemplars", pa.list_(pa.int64())),
        ("prompt", pa.string()),
        ("seed", pa.int64()),
    ]
)
"""generated/<generator>/<shard>: synthetic samples as they were made, before any filter."""


@dataclass(frozen=True)
class Shard:
    """A part of what is wanted, and the key of the file that holds its samples."""

    request: Request
    key: str


@dataclass(frozen=True)
class GenerateWorker:
    """Makes the samples of shards; the encoder is that of the task."""

    storage: Storage
    config: GeneratorConfig
    encoder: EncoderConfig
    summary_type: ClassVar[type[Summary]] = Summary

    def output_key(self, item: Shard) -> str:
        """Name the shard's samples."""
        return item.key

    def process(self, item: Shard) -> tuple[pa.Table, Summary]:
        """Make the samples of a shard."""
        made = load_generator(self.config, self.encoder).generate(item.request)
        return _table(made), Summary(len(made))


def generate(
    name: str,
    config: GeneratorConfig,
    encoder: EncoderConfig,
    requests: Sequence[Request],
    storage: Storage,
    on_rows: OnRows | None = None,
    labels: Labels = ANY_NODE,
) -> list[list[Generated]]:
    """Make what is wanted and not yet stored; returns the samples of each request, in order.

    Args:
        name: of the generator in the campaign file.
        config: the generator.
        encoder: of the task.
        requests: what is wanted.
        storage: the run directory.
        on_rows: called with each number of samples done.
        labels: of the nodes that take part.

    Raises:
        ConfigError: the generator's model is not where the campaign file says.
        StageError: the generator failed.
    """
    shards = [plan(name, version_of(config, encoder), request) for request in requests]
    flat = list({shard.key: shard for some in shards for shard in some}.values())
    if flat:
        stream(GenerateWorker(storage, config, encoder), flat, compute(config, labels), on_rows)
    return [[each for shard in some for each in read(storage, shard)] for some in shards]


def compute(config: GeneratorConfig, labels: Labels) -> Compute:
    """Return where a generator runs: actors keep a model, what needs none runs in tasks."""
    if config.kind not in GENERATIVE or config.url is not None:
        return Compute(labels=labels)
    learns = config.kind == "diffusion" and config.path is None  # and need not learn twice
    fitting = 1 if learns else max(1, available_slots(config.num_gpus, labels))
    return Compute(actors=fitting, num_gpus=config.num_gpus, labels=labels)


def plan(name: str, version: str, request: Request) -> list[Shard]:
    """Split a request into shards, each with a seed of its own."""
    shards = []
    for start in range(0, request.count, SHARD):
        seed = int(fingerprint([request.seed, start]), 16) % 2**31
        part = replace(request, count=min(SHARD, request.count - start), seed=seed)
        key = f"generated/{name}/{shard_name(version, part)}.parquet"
        shards.append(Shard(part, key))
    return shards


def shard_name(version: str, request: Request) -> str:
    """Return a name that changes with the generator and with all that it is asked."""
    seen = [[each.sample_id, each.label, _digest(each.payload)] for each in request.exemplars]
    members = [_digest(each) for each in request.members]
    asked = [request.gap, request.label, request.labels, request.count, request.seed]
    return fingerprint([version, asked, seen, members])


def _digest(payload: Payload) -> str:
    return content_hash(payload.encode() if isinstance(payload, str) else payload).hex()


def _table(made: Sequence[Generated]) -> pa.Table:
    return pa.table(
        {
            "text": [each.payload if isinstance(each.payload, str) else None for each in made],
            "image": [each.payload if isinstance(each.payload, bytes) else None for each in made],
            "label": [each.label for each in made],
            "exemplars": [list(each.exemplars) for each in made],
            "prompt": [each.prompt for each in made],
            "seed": [each.seed for each in made],
        },
        schema=GENERATED,
    )


def read(storage: Storage, shard: Shard) -> list[Generated]:
    """Read the samples of a shard that is stored."""
    return [
        Generated(
            payload=row["image"] if row["text"] is None else row["text"],
            label=row["label"],
            exemplars=tuple(row["exemplars"]),
            prompt=row["prompt"],
            seed=row["seed"],
        )
        for row in storage.read_table(shard.key).to_pylist()
    ]
