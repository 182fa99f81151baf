"""Whether the files of a run directory are what its stages stored.

Each file is compared with its seal when it is read. At each start, all files with a seal must be
there, with the size that they had; `umc verify` reads all of them.
"""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from umc_ray.errors import StoreError
from umc_ray.seals import OF_LOST_SEALS, REMEDY, Seal, seals_key
from umc_ray.storage import Storage

ANEW = ("bandit.json",)
"""Files that a run writes again from others if they are gone."""

UNFINISHED = "repair.json"
"""The seals of what a repair computes again, until it is done."""

NOT_SEALED = (
    *("seals/", "writer/", "running/", "tries/", "train/"),  # of the run itself, while it works
    *(UNFINISHED, "status.json"),
    *("report/", "release/", "quarantine/"),  # made for people, never read again
    *("labels.db", "events.jsonl", "labelstudio/"),  # they grow; labels.db checks itself
)
SEALED = (".json", ".parquet", ".safetensors")
"""How files end that stages store; others are not theirs."""

UNREPAIRED = "a repair of it was interrupted"

NO_SEALS = f"no file of it is there: nothing says what was stored; {OF_LOST_SEALS}"

SHOWN = 5


@dataclass(frozen=True)
class Verified:
    """What reading all files of a run directory gave.

    `damaged` says why, by file. `unsealed` files can be read, and were compared with nothing.
    """

    files: int
    size: int
    damaged: Mapping[str, str]
    unsealed: tuple[str, ...]


def check_files(storage: Storage) -> None:
    """Make sure that no stored file is missing or has another size; reads none of them.

    Raises:
        StoreError: some are; the message names them, and what to do.
    """
    sizes = storage.sizes("")
    found = _missing_or_cut(storage.seals(""), sizes)
    wrong = storage.damaged_seals("")
    wrong |= {key: why for key, why in found.items() if key in sizes or key not in ANEW}
    wrong |= dict.fromkeys(unfinished(storage), UNREPAIRED)
    if wrong:
        raise StoreError(f"{storage.root} has damaged files: {said(wrong)}; {REMEDY}")


def lost_seals(storage: Storage) -> str | None:
    """Say that a run directory with rounds has no seals at all; None where it has some."""
    has_rounds = storage.exists("rounds/0001/labels.parquet")
    if not has_rounds or storage.seals("") or storage.damaged_seals(""):
        return None
    return f"seals/ of {storage.root}: {NO_SEALS}"


def verify(storage: Storage) -> Verified:
    """Read all files that have a seal, and those that lack one, as far as they check themselves."""
    seals, sizes = storage.seals(""), storage.sizes("")
    without = [key for key in sorted(sizes) if key not in seals and is_sealed_kind(key)]
    damaged = storage.damaged_seals("") | _missing_or_cut(seals, sizes)
    if without and not seals and not damaged:
        damaged["seals/"] = NO_SEALS
    checked = [*seals, *(key for key in without if seals_key(key) not in damaged)]
    whole = [key for key in checked if key not in damaged]
    with ThreadPoolExecutor(max_workers=8) as pool:
        found = dict(zip(whole, pool.map(lambda key: _damage(storage, key), whole), strict=True))
    damaged |= {key: why for key, why in found.items() if why is not None}
    damaged |= dict.fromkeys(unfinished(storage), UNREPAIRED)
    unsealed = tuple(key for key in without if key not in damaged)
    size = sum(seal.size for seal in seals.values())
    return Verified(len(seals), size, dict(sorted(damaged.items())), unsealed)


def unfinished(storage: Storage) -> dict[str, Seal]:
    """Return the seals of what a repair that was interrupted should have computed again."""
    if not storage.exists(UNFINISHED):
        return {}
    return {key: Seal(*values) for key, values in storage.read_json(UNFINISHED).items()}


def said(damaged: Mapping[str, str]) -> str:
    """Name the first damaged files, and how many there are in all."""
    shown = [f"{key} ({why})" for key, why in list(damaged.items())[:SHOWN]]
    more = [f"{len(damaged) - SHOWN} more"] if len(damaged) > SHOWN else []
    return ", ".join([*shown, *more])


def is_sealed_kind(key: str) -> bool:
    """Whether a file belongs to what stages store once."""
    return key.endswith(SEALED) and not key.startswith(NOT_SEALED)


def _missing_or_cut(seals: Mapping[str, Seal], sizes: Mapping[str, int]) -> dict[str, str]:
    wrong: dict[str, str] = {}
    for key, seal in seals.items():
        if key not in sizes:
            wrong[key] = "it is missing"
        elif sizes[key] != seal.size:
            wrong[key] = f"it has {sizes[key]} bytes, {seal.size} were stored"
    return wrong


def _damage(storage: Storage, key: str) -> str | None:
    try:
        storage.verify(key)
        if key.endswith(".json"):
            storage.read_json(key)
    except StoreError as error:
        said = str(error).partition(f"{storage.root}: ")[2] or str(error)
        return said.removesuffix(f"; {REMEDY}")
    return None
