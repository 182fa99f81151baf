"""Where the questions and answers of a campaign are."""

from umc_ray.annotation.store import AnnotationStore
from umc_ray.config.campaign import CampaignConfig
from umc_ray.storage import Storage


def open_store(config: CampaignConfig) -> AnnotationStore:
    """Open the store of a campaign: the database that it names, or one in its run directory.

    Raises:
        StoreError: it cannot be opened.
    """
    run = Storage(config.run_root)
    return AnnotationStore(config.annotation.database or f"sqlite:///{run.path('labels.db')}")
