"""k-means of stored features on the cluster: each actor holds a share of them."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import ray

from umc_ray.cluster.resources import check_resources, cpus, room
from umc_ray.errors import StageError
from umc_ray.methods.clustering import Clusters
from umc_ray.methods.shards import Shard, sharded_kmeans
from umc_ray.records import Part, embeddings_array
from umc_ray.storage import Storage


class FeatureShard(Shard):
    """Reads the stored features of its parts, once."""

    def __init__(self, storage: Storage, table: str, parts: Mapping[int, Part]) -> None:

        def rows(part: Part) -> npt.NDArray[np.float16]:
            return embeddings_array(storage.read_table(part.key(table), ["embedding"])["embedding"])

        super().__init__((i, rows(part)) for i, part in parts.items())


def cluster_features(
    storage: Storage,
    table: str,
    parts: Sequence[Part],
    k: int,
    *,
    seed: int,
    shards: int | None = None,
    num_gpus: float = 0.0,
) -> Clusters:
    """Cluster the features of parts into at most k groups; labels are in the order of the parts.

    Args:
        storage: the run directory.
        table: of the features.
        parts: at least one; a row that could not be encoded gets the label -1.
        k: clusters asked for.
        seed: the same gives the same clusters, whatever the number of shards.
        shards: actors that hold the features; by default one for each CPU but one, which is left
            to reads, or one for each share of a GPU.
        num_gpus: what each of them has of a GPU.

    Raises:
        ConfigError: the cluster has no room for the actors.
        DataError: nothing could be encoded.
        StageError: an actor died.
    """
    if shards is None:
        shards = max(1, room(num_gpus) - cpus(num_gpus))
    shards = min(shards, len(parts))
    check_resources(shards, num_gpus)
    remote = ray.remote(FeatureShard).options(num_cpus=cpus(num_gpus), num_gpus=num_gpus)
    shares = [{i: parts[i] for i in range(first, len(parts), shards)} for first in range(shards)]
    actors: list[Any] = [remote.remote(storage, table, share) for share in shares]

    def ask(method: str, *arguments: Any) -> list[Any]:  # noqa: ANN401 - as the method has them
        refs = [ray.put(each) for each in arguments]
        found: list[Any] = ray.get([getattr(actor, method).remote(*refs) for actor in actors])
        return found

    try:
        return sharded_kmeans(ask, k, seed=seed)
    except ray.exceptions.RayActorError as error:
        raise StageError(f"a shard of {table} was lost while it was clustered: {error}") from error
    finally:
        for actor in actors:
            ray.kill(actor)
