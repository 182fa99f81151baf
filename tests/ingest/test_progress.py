import pyarrow as pa
import pytest

from tests.ingest.test_inspection import rules
from umc_ray.errors import Stopped
from umc_ray.ingest.progress import RowCounter
from umc_ray.ingest.stage import Reader
from umc_ray.storage import Storage


@pytest.fixture
def reader(tmp_path):
    return Reader(Storage(str(tmp_path)), "staging/pool/x/y/z", "/data", rules())


def write_chunk(reader, name, rows):
    key = f"{reader.staging}/rows/{name}.parquet"
    reader.storage.write_table(key, pa.table({"key": ["k"] * rows}))


def test_each_row_is_reported_once_by_its_chunk_or_by_its_item(reader):
    write_chunk(reader, "000000-0000", 7)  # of an earlier run
    reported = []
    counter = RowCounter(reader, reported.append)
    counter.look()
    write_chunk(reader, "000001-0000", 10)
    counter.look()
    write_chunk(reader, "000001-0001", 5)
    counter.look()
    counter.look()
    counter.finish(16)  # one of them a bad row, which no chunk has
    write_chunk(reader, "000002-0000", 4)
    counter.look()
    counter.finish(4)
    assert reported == [0, 10, 5, 0, 1, 3, 1]
    assert sum(reported) == 20


def test_a_signal_ends_the_look_but_not_the_pass(reader):
    def stop(rows):
        raise Stopped("stopped")

    class Twice:
        waits = 0

        def wait(self, seconds):
            self.waits += 1
            return self.waits > 2

    over = Twice()
    RowCounter(reader, stop).watch(over)
    assert over.waits == 1
