"""What happens to each kind of stored file when it is damaged: `python -m docs.faults CAMPAIGN`.

Every kind of file of a finished campaign is damaged in four ways, in a copy; the table says who
tells, and what to do. tests/integration/test_repair.py compares docs/faults.md with it.
"""

import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from umc_ray.campaign.repair import can_be_computed
from umc_ray.campaign.verify import ANEW, check_files
from umc_ray.config.loading import load_campaign
from umc_ray.errors import StoreError
from umc_ray.storage import Storage

PAGE = Path(__file__).parent / "faults.md"

HEAD = """# Damaged files

Each stage records the size and the checksum of what it stores, in `seals/`. This table is made by
damaging every kind of file of a finished campaign (`python -m docs.faults CAMPAIGN`).

- **start**: the next `umc run` names the file before it does anything.
- **read**: whoever reads the file gets an error that names it, and `umc verify` does.
- **repair**: `umc repair` computes it again, byte for byte.
- **anew**: the next run makes it again from other files by itself.
- **backup**: it follows from nothing else and has to come back from a backup; nothing is changed.

`labels.db` is the store of answers: SQLite checks it, and each start compares it with the rounds.
The log `events.jsonl` decides nothing.

| file | cut | a flipped bit | deleted | another one's content |
|---|---|---|---|---|
"""

Damage = Callable[[Path, Path], None]


def cut(path: Path, other: Path) -> None:
    """Leave half of a file."""
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip(path: Path, other: Path) -> None:
    """Flip a bit in the middle of a file."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def delete(path: Path, other: Path) -> None:
    """Delete a file."""
    path.unlink()


def swap(path: Path, other: Path) -> None:
    """Put the content of another file in its place."""
    path.write_bytes(other.read_bytes())


DAMAGES: tuple[Damage, ...] = (cut, flip, delete, swap)


def kinds(storage: Storage) -> dict[str, list[str]]:
    """Return the files that have a seal, by kind, the newest round first."""
    found: dict[str, list[str]] = {}
    for key in sorted(storage.seals(""), reverse=True):
        found.setdefault(kind_of(key), []).append(key)
    return dict(sorted(found.items()))


def kind_of(key: str) -> str:
    """Replace what differs between files of a kind."""
    kind = re.sub(r"^models/[^/]+/\d{4}/[^/]+/", "models/TASK/ROUND/SPECIALIST/", key)
    kind = re.sub(r"^models/[^/]+/\d{4}/", "models/TASK/ROUND/", kind)
    kind = re.sub(r"^rounds/\d{4}/", "rounds/ROUND/", kind)
    kind = re.sub(r"\b[0-9a-f]{16}\b", "HASH", kind)
    kind = re.sub(r"/(pool|test|synthetic)/[^/]+/[^/]+/(?=[^/]+$)", "/SPLIT/TASK/DOMAIN/", kind)
    kind = re.sub(r"random_orders/\d+/[^/]+/[^/]+\.", "random_orders/SIZE/TASK/DOMAIN.", kind)
    return re.sub(r"(part-\d+|(?<=/)\d{4})(?=\.parquet$)", "PART", kind)


def outcomes(storage: Storage) -> dict[str, list[str]]:
    """Damage a file of each kind in each way; return what comes of it, and put it right again."""
    found = {}
    for kind, keys in kinds(storage).items():
        others = [each for each in storage.seals("") if _differs(storage, each, keys[0])]
        other = next((each for each in keys if each in others), others[0])
        found[kind] = [_outcome(storage, keys[0], other, damage) for damage in DAMAGES]
    return found


def page(found: Mapping[str, list[str]]) -> str:
    """Lay the outcomes out as docs/faults.md."""
    rows = (f"| `{kind}` | {' | '.join(cells)} |" for kind, cells in found.items())
    return HEAD + "\n".join(rows) + "\n"


def _differs(storage: Storage, key: str, other: str) -> bool:
    return Path(storage.path(key)).read_bytes() != Path(storage.path(other)).read_bytes()


def _outcome(storage: Storage, key: str, other: str, damage: Damage) -> str:
    path = Path(storage.path(key))
    content = path.read_bytes()
    damage(path, Path(storage.path(other)))
    at_start, when_read = (_names(key, check, storage) for check in (check_files, _read(key)))
    path.write_bytes(content)
    if damage is delete and key in ANEW:
        return "anew"
    if not when_read:
        return "silent"
    remedy = "repair" if can_be_computed(key) else "backup"
    return f"{'start' if at_start else 'read'}, {remedy}"


def _read(key: str) -> Callable[[Storage], None]:
    return lambda storage: storage.verify(key)


def _names(key: str, check: Callable[[Storage], None], storage: Storage) -> bool:
    try:
        check(storage)
    except StoreError as error:
        return key in str(error)
    return False


def main(campaign: Path) -> None:
    """Write docs/faults.md by a finished campaign."""
    config = load_campaign(campaign)
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(config.run_root, folder, dirs_exist_ok=True)
        PAGE.write_text(page(outcomes(Storage(folder))), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
