from dataclasses import replace

from umc_ray.specialists.epochs import FOLDER, EpochLog
from umc_ray.specialists.specialist import Epoch
from umc_ray.storage import Storage

FIRST = Epoch(stage=0, epoch=0, loss=0.5, samples=20, samples_per_s=12.5)


def test_each_epoch_is_read_once_and_one_that_is_being_written_is_left_for_later(tmp_path):
    storage, folder = Storage(str(tmp_path)), "models/mood/0001/tuned"
    reader, writer = EpochLog(storage, folder), EpochLog(storage, folder)
    assert reader.new() == []
    writer.write(FIRST)
    writer.write(replace(FIRST, epoch=1))
    assert [each.epoch for each in reader.new()] == [0, 1]
    writer.write(replace(FIRST, stage=1))
    whole = storage.read_bytes(f"{FOLDER}/{folder}.jsonl")
    storage.write_bytes(f"{FOLDER}/{folder}.jsonl", whole[:-4])
    assert reader.new() == []
    storage.write_bytes(f"{FOLDER}/{folder}.jsonl", whole)
    assert reader.new() == [replace(FIRST, stage=1)]
    assert reader.new() == []
