import json
from collections import Counter

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.ingest.layouts.reading import about, picked, read, write
from umc_ray.config.campaign import CampaignConfig
from umc_ray.errors import DataError
from umc_ray.ingest.layouts.layout import Asked
from umc_ray.ingest.layouts.registry import list_split, recognize, with_layouts
from umc_ray.ingest.validate import rules_of
from umc_ray.records import DomainKey

IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def table(texts, numbers, names=("bad", "good")):
    feature = {"names": list(names), "_type": "ClassLabel"}
    features = {"text": {"dtype": "string", "_type": "Value"}, "label": feature}
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    columns = {"text": texts, "label": pa.array(numbers, pa.int64())}
    return pa.table(columns).replace_schema_metadata(metadata)


def save_to_disk(folder, rows, shards=1):
    """Write what Dataset.save_to_disk writes."""
    names = [f"data-{i:05d}-of-{shards:05d}.arrow" for i in range(shards)]
    folder.mkdir(parents=True)
    for i, name in enumerate(names):
        with pa.ipc.new_stream(str(folder / name), rows.schema) as writer:
            writer.write_table(rows.slice(i * len(rows) // shards, len(rows) // shards))
    write(folder / "dataset_info.json", json.dumps({"features": {}, "builder_name": "csv"}))
    state = {"_data_files": [{"filename": name} for name in names], "_fingerprint": "f2"}
    write(folder / "state.json", json.dumps(state))
    return folder


def test_a_saved_dataset_is_read_by_its_state_with_the_names_of_classes(tmp_path):
    folder = save_to_disk(tmp_path / "data", table(["a", "b", "c", "d"], [1, 0, -1, 1]), shards=2)
    write(folder / "cache-1234.arrow", b"left by a map")
    assert about(folder) == "huggingface: one split"
    found = picked(read(folder, "text", "label", class_column="label"), "text", "label")
    assert found == [("a", "good"), ("b", "bad"), ("c", None), ("d", "good")]


def test_a_split_of_a_saved_dataset_dict_is_chosen_by_its_use_or_by_name(tmp_path):
    names = ("train", "test", "unsupervised")
    for name in names:
        save_to_disk(tmp_path / name, table([name], [0]))
    write(tmp_path / "dataset_dict.json", json.dumps({"splits": list(names)}))
    assert about(tmp_path) == "huggingface: split train of train, test, unsupervised"
    assert picked(read(tmp_path, "text", use="test"), "text") == [("test",)]
    assert picked(read(tmp_path, "text", split="unsupervised"), "text") == [("unsupervised",)]
    with pytest.raises(DataError, match=r"which split is meant.*target source"):
        about(tmp_path, "target")


def test_a_folder_that_lacks_a_file_of_its_state_is_an_error(tmp_path):
    folder = save_to_disk(tmp_path / "data", table(["a", "b"], [0, 1]), shards=2)
    (folder / "data-00001-of-00002.arrow").unlink()
    with pytest.raises(
        DataError, match=r"has no data-00001-of-00002.arrow, which state.json names"
    ):
        about(folder)
    write(folder / "state.json", json.dumps({"_indices_data_files": [{"filename": "i.arrow"}]}))
    with pytest.raises(DataError, match=r"flatten_indices"):
        about(folder)
    write(folder / "state.json", "{")
    with pytest.raises(DataError, match=r"state.json is not JSON"):
        about(folder)


def test_a_folder_of_the_hub_has_its_splits_in_the_names_of_files(tmp_path):
    (tmp_path / "data").mkdir()
    for name in ("train-00000-of-00002", "train-00001-of-00002", "val-00000-of-00001"):
        pq.write_table(table([name], [1]), tmp_path / "data" / f"{name}.parquet")
    assert about(tmp_path) == "huggingface: split train of train, validation"
    assert len(read(tmp_path, "text")) == 2
    assert about(tmp_path / "data", "test") == "huggingface: split validation of train, validation"


def test_files_of_other_names_are_plain(tmp_path):
    pq.write_table(table(["a"], [1]), tmp_path / "part-0.parquet")
    assert about(tmp_path) is None
    with pytest.raises(DataError, match=r"has neither dataset_dict.json, .* it has part-0.parquet"):
        about(tmp_path, format="huggingface")


def images(tmp_path, domain):
    task = {"kind": "classification", "labels": ["no", "yes"], "encoder": {"kind": "pixels"}}
    values = {"name": "test", "budget": {"labels": 10, "per_round": 5}}
    config = CampaignConfig.model_validate(
        {**values, "tasks": {"task": {**task, "domains": {"domain": domain}}}}
    )
    return rules_of(config, DomainKey("task", "domain"), "pool")


@pytest.mark.parametrize("form", ["huggingface", None])
def test_images_in_a_table_need_no_column_where_there_is_one_of_them(tmp_path, form):
    rows = pa.table({"image": pa.array([{"bytes": b"x", "path": "a.png"}], IMAGE), "label": [1]})
    pq.write_table(rows, tmp_path / "train-00000-of-00001.parquet")
    source = str(tmp_path) if form is None else {"format": form, "path": str(tmp_path)}
    rules = images(tmp_path, {"source": source, "label": "folder"})
    found = with_layouts(rules, [str(tmp_path)])
    assert (found.are_images, found.image, found.label) == (False, "image", "label")
    listing = list_split(found, [str(tmp_path)], exclude="/nowhere")
    assert [file.uri for file in listing.all] == [f"{tmp_path}/train-00000-of-00001.parquet"]
    assert listing.notes == Counter({"files of the layout huggingface: split train of train": 1})


def test_images_in_files_and_in_tables_are_not_one_domain(tmp_path):
    rows = pa.table({"image": pa.array([{"bytes": b"x", "path": "a.png"}], IMAGE)})
    (tmp_path / "one").mkdir()
    pq.write_table(rows, tmp_path / "one" / "train-00000-of-00001.parquet")
    write(tmp_path / "two" / "1.png", b"")
    rules = images(tmp_path, {"source": "none"})
    sources = [str(tmp_path / name) for name in ("one", "two")]
    with pytest.raises(DataError, match=r"found both: .*one: huggingface: .*; .*two: image files"):
        with_layouts(rules, sources)


def test_files_are_plain_where_the_campaign_says_so(tmp_path):
    pq.write_table(table(["a"], [1]), tmp_path / "train-00000-of-00001.parquet")
    assert recognize(str(tmp_path), Asked("pool", format="files")) is None
    assert recognize(str(tmp_path / "none"), Asked("pool")) is None
    with pytest.raises(DataError, match=r"does not exist; a format is that of"):
        recognize(str(tmp_path / "none"), Asked("pool", format="huggingface"))
    with pytest.raises(DataError, match=r"has no split or task: it is not recognized"):
        recognize(str(tmp_path / "train-00000-of-00001.parquet"), Asked("pool", split="train"))
