"""Split a mixed pool into domains: clusters of its embeddings that keep their names.

    <storage>/<campaign>-domains/<task>/<domain>/
      domains.json                names, centers and encoder: written once, then only read
      domains/pool/<name>/        a source for each domain, for campaign files
      domains/test/<name>/        its share of the test split, if there is one
      domains.yaml                lines for a campaign file
      domain.json                 the mixed domain, as the campaign file had it
      files.json                  hash of the pool's files; if it changes, all else is made anew
      pool/, features/, ...       as in a run directory

The folder is beside the run directory, because nothing in a run directory can be a source.

Suffixes: N samples, D embedding dimension, K domains.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property, partial
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import ray
import torch
import yaml

from umc_ray.campaign.run import Run
from umc_ray.cluster.stream import Compute, stream
from umc_ray.config.campaign import CampaignConfig
from umc_ray.config.domain import DomainConfig
from umc_ray.config.task import TaskConfig
from umc_ray.encoders.registry import encoder_hash, settings_hash
from umc_ray.errors import ConfigError
from umc_ray.ingest.ingest import ingest
from umc_ray.ingest.layouts.registry import list_split, with_layouts
from umc_ray.ingest.validate import rules_of
from umc_ray.methods.cluster_count import cluster_count
from umc_ray.methods.identity import fingerprint
from umc_ray.methods.words import distinguishing_words
from umc_ray.passes.assign_domains import DomainWorker, nearest
from umc_ray.passes.cluster import cluster_features
from umc_ray.passes.encode import encode, features_table
from umc_ray.passes.fit_encoders import fit_encoders
from umc_ray.records import DomainKey, Part, embeddings_array
from umc_ray.selection.gather import gather
from umc_ray.selection.random_orders import RANDOM, make_random_orders, order_of, random_orders_key
from umc_ray.storage import Storage

SAMPLE = 3000
"""Random samples that decide on the number of domains and describe each."""

MAX_DOMAINS = 12
"""The largest number of domains, where the user names none."""

WORDS, TYPICAL, TEXT_CHARS = 8, 3, 80


@dataclass(frozen=True)
class Domains:
    """The discovered domains; new samples go to the nearest center."""

    names: tuple[str, ...]
    centers: tuple[tuple[float, ...], ...]
    encoder: str
    strengths: Mapping[str, float]  # by the number of domains that was tried

    @property
    def centers_KD(self) -> npt.NDArray[np.float32]:
        """The centers in the space of the embeddings."""
        return np.array(self.centers, np.float32)


@dataclass(frozen=True)
class Discovered:
    """A discovered domain with a description of its samples."""

    name: str
    source: str
    test: str | None
    samples: int
    words: tuple[str, ...]
    typical: tuple[str, ...]  # texts, or names of images


@dataclass(frozen=True)
class Discovery:
    """All domains, whether they were known before, and the lines for a campaign file."""

    domains: tuple[Discovered, ...]
    known: bool
    strengths: Mapping[str, float]
    yaml: str
    path: str


def discover(run: Run, domain_key: DomainKey, clusters: int | None = None) -> Discovery:
    """Split a domain's pool into domains; a second call keeps the domains of the first.

    Args:
        run: of a campaign that has the mixed pool as a domain.
        domain_key: that domain.
        clusters: the number of domains; default: what the data shows, up to MAX_DOMAINS.

    Raises:
        ConfigError: there is no such domain, its samples form one cluster, or an earlier
            discovery used another encoder or number of domains.
        DataError: the pool cannot be read.
    """
    home = Storage(f"{run.storage.root}-domains/{domain_key}")
    config, known = _config(run.config, domain_key, home), home.exists("domains.json")
    if known:
        _check_known(config, domain_key, clusters, home)
    pool = _bring_in(replace(run, config=config), domain_key, home)
    if not known:
        home.write_json("domain.json", pool.domain.model_dump(mode="json"))
        home.write_record("domains.json", _find(pool, clusters))
    domains = home.read_record("domains.json", Domains)
    counts_K = _split(pool, domains)
    found = _describe(pool, domains, counts_K)
    lines = _yaml(pool, found)
    home.write_bytes("domains.yaml", lines.encode())
    return Discovery(found, known, domains.strengths, lines, f"{home.root}/domains.yaml")


def _config(config: CampaignConfig, domain_key: DomainKey, home: Storage) -> CampaignConfig:
    """Return the campaign reduced to the mixed pool, also when its domains have replaced it.

    Raises:
        ConfigError: there is no such domain, and was none.
    """
    was_replaced = domain_key.task in config.tasks and home.exists("domain.json")
    if was_replaced and domain_key not in config.domains():
        domain = DomainConfig.model_validate(home.read_json("domain.json"))
    else:
        domain = config.domain(domain_key)
    return config.reduced_to(domain_key, domain)


def _check_known(
    config: CampaignConfig, domain_key: DomainKey, clusters: int | None, home: Storage
) -> None:
    """Refuse to mix two discoveries."""
    before = home.read_record("domains.json", Domains)
    k, encoder = (
        len(before.names),
        encoder_hash(config.tasks[domain_key.task].default_encoder_config),
    )
    if clusters not in (None, k) or encoder != before.encoder:
        how = "with another encoder" if encoder != before.encoder else f"into {k} domains"
        raise ConfigError(
            f"{domain_key} was split {how} before, and domains keep their names: "
            f"delete {home.root} to start over"
        )


@dataclass(frozen=True)
class _Pool:
    """The mixed pool, ingested and encoded."""

    run: Run
    domain_key: DomainKey
    home: Storage
    parts: tuple[Part, ...]
    tests: tuple[Part, ...]  # of the test split

    @property
    def task(self) -> TaskConfig:
        return self.run.config.tasks[self.domain_key.task]

    @property
    def domain(self) -> DomainConfig:
        return self.task.domains[self.domain_key.domain]

    @property
    def payload(self) -> str:
        return self.task.payload

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that make a sample."""
        return (self.payload,) if self.domain.embedding is None else (self.payload, "embedding")

    @cached_property
    def features(self) -> str:
        return features_table(self.task.default_encoder_config)

    @cached_property
    def sample(self) -> pa.Table:
        """Random samples: key, text and embedding."""
        make_random_orders(self.home, self.parts, SAMPLE, self.run.config.seed)
        drawn = order_of(self.home.read_table(random_orders_key(self.domain_key, SAMPLE)), RANDOM)
        named = gather(self.home, self.parts, "pool", drawn, ["key", "text"])
        encoded = gather(self.home, self.parts, self.features, drawn, ["embedding"])
        return named.append_column("embedding", encoded["embedding"])


def _bring_in(run: Run, domain_key: DomainKey, home: Storage) -> _Pool:
    """Ingest and encode the pool, once for the same files."""
    config = run.config
    files = {"hash": _files(config, domain_key, home)}
    if not home.exists("files.json") or home.read_json("files.json") != files:
        for folder in {key.split("/")[0] for key in home.keys("") if "/" in key}:
            home.delete(folder)
        home.write_json("files.json", files)
    follow = run.stages.follow
    pool = ingest(config, domain_key, "pool", home, partial(follow, "ingest")).parts
    tests: tuple[Part, ...] = ()
    if config.domains()[domain_key].test is not None:
        tests = ingest(config, domain_key, "test", home).parts
    task = config.tasks[domain_key.task]
    encoders = {domain_key.task: {task.default_encoder: task.default_encoder_config}}
    fit_encoders(encoders, pool, home)
    encode(
        encoders,
        [*pool, *tests],
        home,
        follow("encode", sum(part.rows for part in (*pool, *tests))),
        config.placement.scoring,
    )
    return _Pool(run, domain_key, home, pool, tests)


def _files(config: CampaignConfig, domain_key: DomainKey, home: Storage) -> str:
    """Return a hash of the domain's files and of how they are read."""
    rules, domain, listed = rules_of(config, domain_key, "pool"), config.domain(domain_key), []
    for split in (split for split in domain.splits if split != "target"):
        sources = domain.sources(split)
        read = with_layouts(rules_of(config, domain_key, split), sources)
        listed += [asdict(file) for file in list_split(read, sources, exclude=home.root).all]
    encoder = settings_hash(config.tasks[domain_key.task].default_encoder_config)
    return fingerprint([listed, asdict(rules), config.ingest.model_dump(), encoder])


def _find(pool: _Pool, clusters: int | None) -> Domains:
    """Cluster the pool, the largest domain first."""
    encoder, seed = pool.task.default_encoder_config, pool.run.config.seed
    strengths: dict[int, float] = {}
    if clusters is None:
        sample_ND = embeddings_array(pool.sample["embedding"])
        sample_ND = sample_ND[np.isfinite(sample_ND).all(1)].astype(np.float32)
        # On a worker, which has one thread: that is faster for products this small.
        clusters, strengths = ray.get(_count.remote(torch.from_numpy(sample_ND), seed))
        if clusters == 1:
            raise ConfigError(
                f"{pool.domain_key} has no clusters that hold on two halves of its samples: "
                "give their number with --clusters, or keep it as one domain"
            )
    found = cluster_features(
        pool.home, pool.features, pool.parts, clusters, seed=seed, num_gpus=encoder.num_gpus
    )
    by_size = np.argsort(-np.bincount(found.labels_N[found.labels_N >= 0]), kind="stable")
    return Domains(
        names=tuple(f"{pool.domain_key.domain}-{i + 1}" for i in range(len(by_size))),
        centers=tuple(map(tuple, found.centers_KD[by_size].tolist())),
        encoder=encoder_hash(encoder),
        strengths={str(k): round(each, 4) for k, each in strengths.items()},
    )


@ray.remote
def _count(sample_ND: torch.Tensor, seed: int) -> tuple[int, dict[int, float]]:
    return cluster_count(sample_ND, MAX_DOMAINS, seed=seed)


def _split(pool: _Pool, domains: Domains) -> npt.NDArray[np.int64]:
    """Write the sources of all domains; returns the number of samples of each."""
    worker = DomainWorker(
        storage=pool.home,
        features=pool.features,
        target=pool.home.within("domains"),
        names=domains.names,
        centers_KD=domains.centers_KD,
        columns=pool.columns,
        has_answers=bool(pool.domain.label or pool.domain.ratings),
    )
    parts = [*pool.parts, *pool.tests]
    on_rows = pool.run.stages.follow("discover", sum(part.rows for part in parts))
    compute = Compute(labels=pool.run.config.placement.scoring)
    summaries = stream(worker, parts, compute, on_rows)[: len(pool.parts)]
    counts_K: npt.NDArray[np.int64] = np.sum([each.samples for each in summaries], axis=0)
    return counts_K


def _describe(
    pool: _Pool, domains: Domains, counts_K: npt.NDArray[np.int64]
) -> tuple[Discovered, ...]:
    """Describe the samples of each domain, by a random sample of the pool."""
    embeddings_ND = embeddings_array(pool.sample["embedding"])
    labels_N, distance_N = nearest(embeddings_ND, domains.centers_KD)
    column = "text" if pool.payload == "text" else "key"
    shown_N = pool.sample[column].to_pylist()
    rows_K = [np.flatnonzero(labels_N == number) for number in range(len(domains.names))]
    texts = [[shown_N[row] for row in rows if column == "text"] for rows in rows_K]
    words = distinguishing_words(texts, WORDS)
    typical = [rows[np.argsort(distance_N[rows], kind="stable")][:TYPICAL] for rows in rows_K]
    return tuple(
        Discovered(
            name=name,
            source=f"{pool.home.root}/domains/pool/{name}",
            test=_test_source(pool, name),
            samples=int(counts_K[number]),
            words=tuple(words[number]),
            typical=tuple(_short(shown_N[row]) for row in typical[number]),
        )
        for number, name in enumerate(domains.names)
    )


def _test_source(pool: _Pool, name: str) -> str | None:
    """Return a domain's share of the test split, if it has any."""
    folder = f"domains/test/{name}"
    return f"{pool.home.root}/{folder}" if pool.home.keys(folder) else None


def _short(text: str) -> str:
    """Cut a text to one line that is safe in a comment and at a terminal."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return line if len(line) <= TEXT_CHARS else f"{line[: TEXT_CHARS - 1]}…"


def _yaml(pool: _Pool, found: Sequence[Discovered]) -> str:
    """Write the domains as a campaign file names them, each below what it is like."""
    lines = []
    for each in found:
        if each.samples:
            words = f"; words: {', '.join(each.words)}" if each.words else ""
            lines += [f"# {each.samples} samples{words}", *(f"#   {t}" for t in each.typical)]
            lines.append(yaml.safe_dump({each.name: _columns(pool, each)}, sort_keys=False))
    return "\n".join(lines)


def _columns(pool: _Pool, found: Discovered) -> dict[str, Any]:
    """Name the columns of a source that `DomainWorker` wrote."""
    answers = [name for name in ("label", "ratings") if getattr(pool.domain, name) is not None]
    columns = {name: name for name in (*pool.columns, "key", *answers)}
    tested = {} if found.test is None else {"test": found.test}
    return {
        "source": found.source,
        **tested,
        **columns,
        "cost_per_label": pool.domain.cost_per_label,
    }
