"""What the last pull saw of a project, so that the next one reads only what changed since."""

from dataclasses import asdict, dataclass, replace

from umc_ray.storage import Storage


@dataclass(frozen=True)
class Pulled:
    """Nothing yet, or the newest change, and how many tasks a project had."""

    until: float | None = None  # Label Studio's time, seconds since 1970
    tasks: int = 0

    @classmethod
    def read(cls, storage: Storage, project: int) -> "Pulled":
        """Return what the last pull of a project saw."""
        key = _key(project)
        return cls(**storage.read_json(key)) if storage.exists(key) else cls()

    def write(self, storage: Storage, project: int) -> None:
        """Store it for the next pull."""
        storage.write_json(_key(project), asdict(self))


def count_pushed(storage: Storage, project: int, new: int) -> None:
    """Count new tasks, or as many deleted ones would not be missed."""
    pulled = Pulled.read(storage, project)
    replace(pulled, tasks=pulled.tasks + new).write(storage, project)


def _key(project: int) -> str:
    return f"labelstudio/pulled-{project}.json"
