"""Trouble of a store: what may pass is tried again, anything else is said at once."""

import errno
import os

import pyarrow as pa
import pyarrow.fs as pafs
import pytest

from umc_ray import storage as module
from umc_ray.errors import StoreError
from umc_ray.storage import RETRY, Storage

TABLE = pa.table({"sample_id": [3, 1, 2]})
TRIES = 8

# As pyarrow raises them, against servers that are stopped, overloaded or broken.
PASSING = [
    OSError(f"When reading information for key 'x' in bucket 'b': AWS Error {what}")
    for what in (
        "NETWORK_CONNECTION during HeadObject operation: curlCode: 7, Could not connect to server",
        "SLOW_DOWN during CreateMultipartUpload operation: m",
        "REQUEST_TIMEOUT during CreateMultipartUpload operation: m",
        "UNKNOWN (HTTP status 429) during HeadObject operation: No response body.",
        "UNKNOWN (HTTP status 503) during HeadObject operation: No response body.",
    )
] + [OSError(code, os.strerror(code)) for code in (errno.ETIMEDOUT, errno.ECONNRESET, errno.ESTALE)]
LASTING = [
    OSError("AWS Error ACCESS_DENIED during HeadObject operation: No response body."),
    OSError("AWS Error NO_SUCH_BUCKET during CreateMultipartUpload operation: m"),
    OSError("AWS Error UNKNOWN (HTTP status 400) during HeadObject operation: No response body."),
    *(OSError(code, os.strerror(code)) for code in (errno.ENOENT, errno.EACCES, errno.ENOSPC)),
    pa.ArrowInvalid("Parquet magic bytes not found in footer"),
]


class Store:
    """A local folder behind a file system that raises errors before it does what is asked."""

    def __init__(self, folder):
        self.errors, self.asked, self.pauses = [], 0, []
        self.local = pafs.SubTreeFileSystem(str(folder), pafs.LocalFileSystem())
        names = pafs.FileSystemHandler.__abstractmethods__
        operations = {name: self._operation(name) for name in names}
        operations["get_type_name"] = lambda _: "fake"
        handler = type("Handler", (pafs.FileSystemHandler,), operations)
        self.filesystem = pafs.PyFileSystem(handler())

    def _operation(self, name):
        def operation(_, *arguments):
            self.asked += 1
            if self.errors:
                raise self.errors.pop(0)
            return getattr(self.local, name.removesuffix("_selector"))(*arguments)

        return operation


@pytest.fixture
def store(tmp_path, monkeypatch):
    store = Store(tmp_path)
    monkeypatch.setattr(module, "_filesystem", lambda root: (store.filesystem, ""))
    monkeypatch.setattr(module, "RETRY", RETRY.copy(sleep=store.pauses.append))
    return store


@pytest.fixture
def storage(store):
    storage = Storage("fake://bucket")
    store.local.create_dir("folder")
    storage.write_bytes("file", b"data")
    storage.write_table("table.parquet", TABLE)
    storage.write_bytes("folder/file", b"")
    store.asked = 0
    return storage


OPERATIONS = {
    "look up": lambda storage: storage.exists("file"),
    "list": lambda storage: storage.keys("folder"),
    "read": lambda storage: storage.read_bytes("file"),
    "read table": lambda storage: storage.read_table("table.parquet"),
    "read schema": lambda storage: storage.read_schema("table.parquet"),
    "write": lambda storage: storage.write_bytes("file", b"new"),
    "delete": lambda storage: storage.delete("folder"),
}


@pytest.mark.parametrize("operation", OPERATIONS)
def test_an_operation_is_tried_again_until_the_trouble_has_passed(operation, store, storage):
    undisturbed = OPERATIONS[operation](storage)
    store.local.create_dir("folder")
    storage.write_bytes("folder/file", b"")
    store.errors = PASSING[:3]
    assert OPERATIONS[operation](storage) == undisturbed
    assert len(store.pauses) == 3
    assert store.errors == []
    assert storage.exists("folder/file") == (operation != "delete")


@pytest.mark.parametrize("error", PASSING, ids=str)
def test_trouble_that_does_not_pass_is_an_error_in_the_end(error, store, storage):
    store.errors = [error] * (TRIES + 1)
    with pytest.raises(StoreError, match="cannot read file in fake://bucket: ") as raised:
        storage.read_bytes("file")
    assert str(error) in str(raised.value)
    assert len(store.errors) == 1
    assert len(store.pauses) == TRIES - 1


@pytest.mark.parametrize("error", LASTING, ids=str)
def test_what_waiting_cannot_change_is_an_error_at_once(error, store, storage):
    store.errors = [error] * 2
    with pytest.raises(StoreError, match="cannot write file in fake://bucket: "):
        storage.write_bytes("file", b"new")
    assert (len(store.errors), store.pauses) == (1, [])
    store.errors = []
    assert storage.read_bytes("file") == b"data"


def test_pauses_grow_and_differ_between_workers(store, storage):
    for _ in range(50):
        store.errors = [PASSING[0]] * (TRIES - 1)
        storage.read_bytes("file")
    first, last = store.pauses[:: TRIES - 1], store.pauses[TRIES - 2 :: TRIES - 1]
    assert max(first) <= 1
    assert 5 < max(last) <= 30
    assert len(set(last)) == 50


def test_a_full_disk_says_what_to_do(store, storage):
    store.errors = [OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))]
    with pytest.raises(StoreError) as raised:
        storage.write_table("table.parquet", TABLE)
    assert str(raised.value) == (
        "cannot write table.parquet in fake://bucket: "
        "No space left on device; free some space and run again: finished work is kept"
    )


def test_a_file_that_is_being_written_or_was_when_its_writer_was_killed_is_not_listed(
    tmp_path, monkeypatch
):
    storage, seen = Storage(str(tmp_path)), []

    def look(draft, path):
        seen.append((os.path.exists(draft), storage.keys("")))

    monkeypatch.setattr(os, "replace", look)
    storage.write_bytes("folder/file", b"data")
    assert seen == [(True, [])]
