"""The published specialists of a campaign, as a replica holds them: loaded beside, then swapped."""

import logging

from umc_ray.campaign.publish import PUBLISHED, Publication, load_published, read_published
from umc_ray.config.campaign import CampaignConfig
from umc_ray.errors import UmcError
from umc_ray.storage import Storage

logger = logging.getLogger(__name__)


class LivePublication:
    """The newest publication that was found whole."""

    def __init__(self, storage: Storage, config: CampaignConfig) -> None:
        self.storage, self.config = storage, config
        self.now: Publication | None = None
        self.refused: str | None = None

    def refresh(self) -> None:
        """Load what is published if it is new; what is not whole is refused, the old one stays.

        A refused one is tried again each time: its files may still be on their way.
        """
        try:
            if not self.storage.exists(PUBLISHED):
                return
            manifest = read_published(self.storage)
            if self.now is None or manifest.version != self.now.manifest.version:
                self.now = load_published(self.storage, self.config, manifest)
                logger.info("%s: version %s answers", self.config.name, manifest.version)
            self.refused = None
        except UmcError as error:
            if str(error) != self.refused:
                logger.warning("%s: a publication is refused: %s", self.config.name, error)
            self.refused = str(error)
