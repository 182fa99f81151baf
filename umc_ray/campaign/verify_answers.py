"""Whether the store of answers is whole: it can be read, is private, and agrees with the rounds."""

import logging
from contextlib import closing

from umc_ray.annotation.store import AnnotationStore
from umc_ray.campaign.answer_store import missing_file, was_asked
from umc_ray.campaign.asked_rounds import check_store
from umc_ray.campaign.corrections import pending_corrections
from umc_ray.campaign.run import Run
from umc_ray.campaign.verify import lost_seals
from umc_ray.config.campaign import CampaignConfig
from umc_ray.errors import StoreError

logger = logging.getLogger(__name__)

FILE = "labels.db"
RESTORE = "put a copy back, or move it away and have umc restore-answers rebuild it"


def store_damage(config: CampaignConfig) -> str | None:
    """Say what is wrong with the store of answers; None if nothing is.

    A store that no round needs yet is not made.
    """
    try:
        run = Run(config)
        if _has_store(config):
            with closing(run.store):
                _check_whole(run)
    except StoreError as error:
        return str(error)
    return None


def check_answers(run: Run) -> None:
    """Make sure that the store is whole; warn of labels that people have changed since.

    Raises:
        StoreError: it is not, or the rounds have lost their seals, so that nothing says whether
            they are whole.
    """
    if lost := lost_seals(run.storage):
        raise StoreError(lost)
    if not _has_store(run.config):
        return
    with closing(run.store):
        _check_whole(run)
        if pending := pending_corrections(run):
            logger.warning(pending)


def _has_store(config: CampaignConfig) -> bool:
    """Whether there is a store, or was: opening one that is gone says so."""
    return missing_file(config) is None or was_asked(config)


def _check_whole(run: Run) -> None:
    if found := _unsound(run.store):
        raise StoreError(found)
    check_store(run)


def _unsound(store: AnnotationStore) -> str | None:
    """Have SQLite read all of its file; a server looks after its own."""
    if store.engine.dialect.name != "sqlite":
        return None
    with store.readers.connect() as connection:
        found = connection.exec_driver_sql("PRAGMA integrity_check(1)").scalar()
    return None if found == "ok" else f"{FILE}: {' '.join(str(found).split())}; {RESTORE}"
