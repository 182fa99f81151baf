"""A note in the run directory that something changed in a Label Studio project.

Label Studio's webhooks wait a second at most, come without proof of where they are from, and never
again if they were lost: so a note says that there is something to look at, and nothing else.
"""

import asyncio

from umc_ray.storage import Storage

FOLDER = "labelstudio/changed"


async def notify_change(storage: Storage, project: str) -> None:
    """Leave a note.

    Raises:
        StoreError: it cannot be written.
    """
    await asyncio.to_thread(storage.write_json, f"{FOLDER}/{project}.json", {})


def take_notifications(storage: Storage) -> bool:
    """Take all notes away; says whether there were any."""
    if not storage.keys(FOLDER):
        return False
    storage.delete(FOLDER)
    return True
