"""What people said about samples beside labels, as a table that a release can read later."""

import pyarrow as pa

from umc_ray.annotation.store import AnnotationStore, Answer
from umc_ray.records import REMARKS


def remarks(store: AnnotationStore, campaign: str) -> pa.Table:
    """Return the flags and notes of a campaign so far, oldest first, in the columns of REMARKS."""
    said = [(kind, each) for kind in ("flag", "note") for each in store.events(kind, campaign)]
    table = pa.Table.from_pylist([_row(kind, each) for kind, each in said], REMARKS)
    return table.sort_by("submitted_at")


def _row(kind: str, said: Answer) -> dict[str, object]:
    same = ("task", "domain", "sample_id", "round", "submitted_at")
    return {"kind": kind, "text": said.reason, **{name: getattr(said, name) for name in same}}
