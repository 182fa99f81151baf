"""Notifications in the run directory that a Label Studio project has changed.

A notification carries no data, it only triggers a pull: Label Studio's webhooks time out after a
second, are not signed, and are not retried.
"""

import asyncio

from umc_ray.storage import Storage

FOLDER = "labelstudio/changed"


async def notify_change(storage: Storage, project: str) -> None:
    """Write a notification.

    Raises:
        StoreError: it cannot be written.
    """
    await asyncio.to_thread(storage.write_json, f"{FOLDER}/{project}.json", {})


def take_notifications(storage: Storage) -> bool:
    """Delete all notifications; return whether there were any."""
    if not storage.keys(FOLDER):
        return False
    storage.delete(FOLDER)
    return True
