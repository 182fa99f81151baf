"""The publication that a replica serves: a new one is loaded beside it, then swapped in."""

import logging

from umc_ray.campaign.publish import PUBLISHED, Publication, load_published, read_published
from umc_ray.config.campaign import CampaignConfig
from umc_ray.errors import UmcError
from umc_ray.storage import Storage

logger = logging.getLogger(__name__)


class LivePublication:
    """The latest publication that passed verification (`now`), and why a newer one did not."""

    def __init__(self, storage: Storage, config: CampaignConfig) -> None:
        self.storage, self.config = storage, config
        self.now: Publication | None = None
        self.refused: str | None = None

    def refresh(self) -> None:
        """Load what is published if it is new; keep the current one if that fails verification.

        A refused publication is tried again on each call: its files may still be in transfer.
        """
        try:
            if not self.storage.exists(PUBLISHED):
                return
            manifest = read_published(self.storage)
            if self.now is None or manifest.version != self.now.manifest.version:
                self.now = load_published(self.storage, self.config, manifest)
                logger.info("%s: serving version %s", self.config.name, manifest.version)
            self.refused = None
        except UmcError as error:
            if str(error) != self.refused:
                logger.warning("%s: refused a publication: %s", self.config.name, error)
            self.refused = str(error)
