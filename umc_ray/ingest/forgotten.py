"""The samples that a campaign has to forget, by domain: forgotten.json."""

import numpy as np

from umc_ray.records import DomainKey, IntArray
from umc_ray.storage import Storage

FORGOTTEN = "forgotten.json"


def forgotten(storage: Storage) -> dict[str, list[int]]:
    """Return the ids of forgotten samples, by domain."""
    found: dict[str, list[int]] = storage.read_json(FORGOTTEN) if storage.exists(FORGOTTEN) else {}
    return found


def forgotten_ids(storage: Storage) -> IntArray:
    """Return the ids of all forgotten samples."""
    return np.array([each for ids in forgotten(storage).values() for each in ids], np.int64)


def remember_forgotten(storage: Storage, domain_key: DomainKey, ids: list[int]) -> None:
    """Add samples of a domain to those that are forgotten."""
    known = forgotten(storage)
    known[str(domain_key)] = sorted({*known.get(str(domain_key), []), *ids})
    storage.write_json(FORGOTTEN, known)
    storage.seal([FORGOTTEN])
