"""Where the questions and answers of a campaign are."""

from pathlib import Path

from umc_ray.annotation.database import file_of
from umc_ray.annotation.store import AnnotationStore
from umc_ray.config.campaign import CampaignConfig
from umc_ray.errors import StoreError
from umc_ray.storage import Storage

RESTORE = "put a copy back, or have umc restore-answers rebuild it"


def open_store(config: CampaignConfig) -> AnnotationStore:
    """Open the store of a campaign: the database that it names, or one in its run directory.

    Raises:
        StoreError: it cannot be opened, or its file is gone and people were asked: answers to an
            empty one would hide that.
    """
    path = missing_file(config)
    if path is not None and was_asked(config):
        raise StoreError(f"{path} is missing, and people were asked; {RESTORE}")
    return make_store(config)


def make_store(config: CampaignConfig) -> AnnotationStore:
    """Open the store of a campaign, an empty one where there is none."""
    return AnnotationStore(_url(config))


def missing_file(config: CampaignConfig) -> Path | None:
    """Return the file of the store if it has one that is not there."""
    path = file_of(_url(config))
    return None if path is None or path.exists() else path


def was_asked(config: CampaignConfig) -> bool:
    """Whether a round has chosen what to ask; the first run makes the store before."""
    return Storage(config.run_root).exists("rounds/0001/batch.parquet")


def _url(config: CampaignConfig) -> str:
    run = Storage(config.run_root)
    return config.annotation.database or f"sqlite:///{run.path('labels.db')}"
