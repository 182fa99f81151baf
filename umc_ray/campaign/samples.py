"""Find the samples of a pool by the names that people know them by.

That is the key of the sample, or of one of its duplicates, or `s` and its id as in a sheet.
"""

import re
from collections.abc import Iterable, Sequence

import numpy as np

from umc_ray.campaign.run import Run
from umc_ray.errors import DataError
from umc_ray.ingest.forgotten import forgotten_ids
from umc_ray.ingest.manifest import is_ingested, load_manifest, read_index
from umc_ray.ingest.parts import content_words
from umc_ray.methods.identity import sample_ids
from umc_ray.methods.unicode_text import comparable
from umc_ray.records import DomainKey, IntArray

Place = tuple[str, int]  # part and row


def find_samples(run: Run, domain_key: DomainKey, names: Sequence[str]) -> dict[str, int]:
    """Return the id of the sample that each name stands for; unknown names are left out.

    Raises:
        ConfigError: there is no such domain.
        DataError: the pool has not been read yet.
    """
    run.config.domain(domain_key)
    if not is_ingested(run.storage, domain_key):
        raise DataError(
            f"{domain_key} has not been read yet: umc run reads it, and ends when people have to "
            "answer"
        )
    places = places_in_pool(run, domain_key)
    keys = [comparable(name) for name in names]
    of_key = sample_ids(domain_key.task, domain_key.domain, "pool", keys).tolist()
    found = {}
    for name, by_key in zip(names, of_key, strict=True):
        by_id = int(name[1:]) if re.fullmatch(r"s\d{1,19}", name) else None
        found[name] = by_id if by_id in places else by_key
    represented = _represented(run, domain_key, set(found.values()) - places.keys(), places)
    found = {name: represented.get(each, each) for name, each in found.items()}
    return {name: each for name, each in found.items() if each in places}


def ids_of_samples(run: Run, domain_key: DomainKey, names: Sequence[str]) -> list[int]:
    """Return the ids of samples, in their order.

    Raises:
        ConfigError: there is no such domain.
        DataError: the pool has no such sample.
    """
    found, forgotten = find_samples(run, domain_key, names), forgotten_ids(run.storage)
    for name in names:
        if found.get(name) in forgotten:
            raise DataError(f"{name} of {domain_key} was forgotten")
        if name not in found:
            raise DataError(
                f"{domain_key} has no sample {name!r}; name it by its key, such as a file's name "
                "or texts.csv#12, or by its sample_id in a sheet, such as s123"
            )
    return [found[name] for name in names]


def places_in_pool(run: Run, domain_key: DomainKey) -> dict[int, Place]:
    """Return part and row of each sample of a pool, by id."""
    places: dict[int, Place] = {}
    for part in load_manifest(run.storage, domain_key, "pool").parts:
        ids = run.storage.read_table(part.key("pool"), ["sample_id"])["sample_id"].to_pylist()
        places |= {sample_id: (part.name, row) for row, sample_id in enumerate(ids)}
    return places


def _represented(
    run: Run, domain_key: DomainKey, ids: Iterable[int], places: dict[int, Place]
) -> dict[int, int]:
    """Return, for ids of duplicates, the sample of the pool with the same content."""
    generation = load_manifest(run.storage, domain_key, "pool").generation
    index = read_index(run.storage, domain_key, "pool", generation)
    ids_K: IntArray = index["sample_id"].to_numpy()
    asked = np.flatnonzero(np.isin(ids_K, list(ids)))
    if not len(asked):
        return {}
    words_K2 = content_words(index)
    alike = np.flatnonzero(np.isin(words_K2[:, 0], words_K2[asked, 0]))
    in_pool = [row for row in alike.tolist() if int(ids_K[row]) in places]
    by_content = {tuple(words_K2[row].tolist()): int(ids_K[row]) for row in in_pool}
    contents = ((int(ids_K[row]), tuple(words_K2[row].tolist())) for row in asked.tolist())
    return {sample_id: by_content[words] for sample_id, words in contents if words in by_content}
