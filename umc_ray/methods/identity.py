"""Sample identity: ids, content hashes, random numbers per sample, and exact duplicates.

Suffixes: N samples, R kept samples (the first ones with their content), F forbidden contents.
"""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Words = npt.NDArray[np.uint64]
Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]

UNKNOWN = -1  # the label of a sample without one


def sample_ids(task: str, domain: str, split: str, keys: Iterable[str]) -> Ints:
    """Return 63-bit ids that depend on names only, so they survive when the data is moved.

    With 10^8 samples, the probability of any collision is 1 in 2,000.
    """
    prefix = hashlib.blake2b(f"{task}\0{domain}\0{split}\0".encode(), digest_size=8)

    def digest(key: str) -> bytes:
        state = prefix.copy()
        state.update(key.encode())
        return state.digest()

    words = np.frombuffer(b"".join(map(digest, keys)), dtype="<u8")
    return (words >> np.uint64(1)).astype(np.int64)


def content_hash(content: bytes) -> bytes:
    """Return a 16-byte hash of the content."""
    return hashlib.blake2b(content, digest_size=16).digest()


def fingerprint(value: Any) -> str:  # noqa: ANN401 - anything that JSON can hold
    """Return 16 hex digits that change when the JSON form of a value changes."""
    text = json.dumps(value, sort_keys=True, default=str)
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def fingerprint_of_rows(ids_N: Ints, contents_N2: Words) -> str:
    """Return 32 hex digits for rows in any order; contents are hashes of two words."""
    sums = (_mix(contents_N2 ^ _mix(ids_N.astype(np.uint64))[:, None])).sum(axis=0, dtype=np.uint64)
    return "".join(f"{int(each):016x}" for each in sums)


def add_fingerprints(first: str, second: str) -> str:
    """Return the fingerprint of the rows of both."""
    halves = zip(*((text[:16], text[16:]) for text in (first, second)), strict=True)
    sums = ((int(one, 16) + int(other, 16)) % 2**64 for one, other in halves)
    return "".join(f"{each:016x}" for each in sums)


def uniform(ids_N: Ints, seed: int, purpose: str) -> Floats:
    """Return a number in [0, 1) per sample, independent of the order and between purposes.

    Source: Steele, Lea, Flood 2014, Fast Splittable Pseudorandom Number Generators (splitmix64).
    """
    digest = hashlib.blake2b(f"{seed}\0{purpose}".encode(), digest_size=16).digest()
    first, second = np.frombuffer(digest, dtype="<u8").astype(np.uint64)
    mixed_N = _mix(_mix(ids_N.astype(np.uint64) ^ first) + second)
    return (mixed_N >> np.uint64(11)).astype(np.float64) * 2.0**-53


def _mix(words_N: Words) -> Words:
    """Mix the bits of each word; a bijection."""
    words_N = words_N + np.uint64(0x9E3779B97F4A7C15)
    words_N = (words_N ^ (words_N >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words_N = (words_N ^ (words_N >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return words_N ^ (words_N >> np.uint64(31))


@dataclass(frozen=True)
class Duplicates:
    """Which of N rows are kept, and why the others are not; rows are in source order.

    `represented_by_N` is the kept row with the same content: the row itself, an earlier one, or -1
    if the row was dropped.
    """

    represented_by_N: Ints
    repeated_N: Bools  # an earlier row has the id
    leaked_N: Bools  # the content is forbidden
    kept_R: Ints
    labels_R: npt.NDArray[np.int32]  # number of the first known label of rows with this content
    conflicts: int  # contents whose rows disagree on the label

    @property
    def duplicates(self) -> int:
        """How many rows have the content of one that is kept."""
        return int((self.represented_by_N >= 0).sum()) - len(self.kept_R)


def deduplicate(
    ids_N: Ints, contents_N2: Words, labels_N: npt.NDArray[np.int32], forbidden_F2: Words
) -> Duplicates:
    """Keep the first row of each id and of each content; drop rows with a forbidden content.

    Contents are hashes of two words. Peak memory is 65 bytes per row in addition to the arguments.
    """
    repeated_N = _is_repeated(ids_N)
    leaked_N = ~repeated_N & is_forbidden(contents_N2, forbidden_F2)
    usable = np.flatnonzero(~repeated_N & ~leaked_N)
    # lexsort is stable, so rows with the same content stay in source order
    order = usable[np.lexsort((contents_N2[usable, 1], contents_N2[usable, 0]))]
    starts = np.flatnonzero(_starts_run(contents_N2[order]))
    represented_by_N = np.full(len(ids_N), -1, dtype=np.int64)
    sizes = np.diff(starts, append=len(order))
    represented_by_N[order] = np.repeat(order[starts], sizes)
    labels, conflicts = _labels_of_runs(labels_N[order], starts)
    by_source = np.argsort(order[starts])
    return Duplicates(
        represented_by_N,
        repeated_N,
        leaked_N,
        kept_R=order[starts][by_source],
        labels_R=labels[by_source],
        conflicts=conflicts,
    )


def _is_repeated(ids_N: Ints) -> Bools:
    """Return whether an earlier row has the same id."""
    order = np.argsort(ids_N, kind="stable")
    repeated_N = np.zeros(len(ids_N), dtype=np.bool_)
    repeated_N[order[1:]] = ids_N[order[1:]] == ids_N[order[:-1]]
    return repeated_N


def is_forbidden(contents_N2: Words, forbidden_F2: Words) -> Bools:
    """Return whether a content is forbidden; all bits are compared only where the first word is."""
    is_forbidden_N = np.isin(contents_N2[:, 0], forbidden_F2[:, 0])
    alike_F = np.isin(forbidden_F2[:, 0], contents_N2[is_forbidden_N, 0])
    forbidden = set(map(tuple, forbidden_F2[alike_F].tolist()))
    suspects = np.flatnonzero(is_forbidden_N)
    is_forbidden_N[suspects] = [
        tuple(words) in forbidden for words in contents_N2[suspects].tolist()
    ]
    return is_forbidden_N


def _starts_run(contents_N2: Words) -> Bools:
    """Return whether a content differs from the previous one."""
    starts_N = np.ones(len(contents_N2), dtype=np.bool_)
    starts_N[1:] = (contents_N2[1:] != contents_N2[:-1]).any(axis=1)
    return starts_N


def _labels_of_runs(
    labels_N: npt.NDArray[np.int32], starts: npt.NDArray[np.intp]
) -> tuple[npt.NDArray[np.int32], int]:
    """Return the first known label of each run, and how many runs have two different ones."""
    if not len(starts):
        return labels_N[:0], 0
    rows_N = np.arange(len(labels_N))
    known_N = labels_N != UNKNOWN
    first = np.minimum.reduceat(np.where(known_N, rows_N, len(labels_N)), starts)
    chosen = np.append(labels_N, np.int32(UNKNOWN))[first]
    sizes = np.diff(starts, append=len(labels_N))
    differs_N = known_N & (labels_N != np.repeat(chosen, sizes))
    return chosen, int(np.logical_or.reduceat(differs_N, starts).sum())
