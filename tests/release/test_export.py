import hashlib
import io
import logging
from dataclasses import replace

import mlcroissant
import pyarrow as pa
import pytest
import yaml
from PIL import Image

from tests.finished import ATTACK, build_run
from umc_ray.config.release import ReleaseConfig
from umc_ray.errors import ConfigError, StoreError
from umc_ray.ingest.forgotten import remember_forgotten
from umc_ray.records import REMARKS, DomainKey
from umc_ray.release.export import write_release
from umc_ray.storage import Storage

SHOP, POSTS, SCANS = (
    "data/mood/shop.parquet",
    "data/mood/posts.parquet",
    "data/shapes/scans.parquet",
)


@pytest.fixture(scope="module")
def folder(finished):
    path = write_release(finished)
    assert path == f"{finished.storage.root}/release/v1"
    return Storage(path)


def test_a_release_has_every_labeled_sample_with_its_provenance(folder, finished):
    rows = folder.read_table(SHOP).to_pylist()
    assert [row["sample_id"] for row in rows] == [0, 1, 2, 3, 4, 7]
    assert rows[5]["text"].startswith(f"{ATTACK} number 7 ")
    scores = finished.storage.read_table("rounds/0003/scores/pool/mood/shop/part-1.parquet")
    expected = {
        "label": "good",
        "domain": "shop",
        "key": "key-7",
        "source": "a.parquet",
        "round": 3,
        "audit": False,
        "why": "because it is hard",
        "votes": 3,
        "cost": 1.5,
        "predicted": "good",
        "probability": scores["prob_1"][1].as_py(),
        "margin": scores["margin"][1].as_py(),
        "score": scores["score"][1].as_py(),
    }
    assert {name: rows[5][name] for name in expected} == expected
    assert rows[5]["agreement"] == pytest.approx(2 / 3)


def test_images_are_released_unchanged(folder, finished):
    rows = folder.read_table(SCANS).to_pylist()
    pool = finished.storage.read_table("pool/pool/shapes/scans/part-1.parquet").to_pylist()
    assert [row["image"] for row in rows][-1] == pool[1]["image"]
    assert Image.open(io.BytesIO(rows[0]["image"])).size == (8, 8)
    assert rows[0]["label"] == "二"  # sample 2000 of three classes


def test_the_audit_set_is_the_labeled_prefix_of_the_random_order(folder):
    # The order is 0, 2, 4, 3, 1, 5, ...; rows 3 and 1 were chosen, row 5 was not asked about.
    rows = folder.read_table(SHOP).to_pylist()
    assert [row["sample_id"] for row in rows if row["audit"]] == [0, 1, 2, 3, 4]


def test_samples_without_a_label_are_left_out(folder):
    ids = folder.read_table(POSTS)["sample_id"].to_pylist()
    assert ids == [1000, 1001, 1003, 1004, 1007]


def test_checksums_are_those_of_the_files_and_cover_all_of_them(folder):
    provenance = folder.read_json("provenance.json")
    files = [key for key in folder.keys("") if key != "provenance.json"]
    assert sorted(provenance["sha256"]) == sorted(files)
    for name, digest in provenance["sha256"].items():
        assert hashlib.sha256(folder.read_bytes(name)).hexdigest() == digest


def test_provenance_names_models_pools_and_packages_but_no_password(folder):
    provenance = folder.read_json("provenance.json")
    assert provenance["models"][2] == {"mood": "mood-3", "shapes": "shapes-3"}
    assert provenance["pools"]["mood/shop"] == {"fingerprint": "mood/shop-pool", "rows": 12}
    assert provenance["packages"]["numpy"].count(".") == 2
    assert (provenance["rounds"], provenance["labels"], provenance["cost"]) == (3, 17, 25.5)
    assert "secret" not in folder.read_bytes("provenance.json").decode()


def test_the_card_counts_what_is_in_the_files(folder):
    _, front, body = folder.read_bytes("README.md").decode().split("---\n", 2)
    card = yaml.safe_load(front)
    assert card["task_categories"] == ["image-classification", "text-classification"]
    assert [each["config_name"] for each in card["configs"]] == ["mood", "shapes"]
    for info in card["dataset_info"]:
        (split,) = info["splits"]
        keys = folder.keys(f"data/{info['config_name']}")
        tables = [folder.read_table(key) for key in keys]
        assert split["num_examples"] == sum(len(table) for table in tables)
        assert split["num_bytes"] == sum(len(folder.read_bytes(key)) for key in keys)
        assert [each["name"] for each in info["features"]] == tables[0].column_names
    posts = folder.read_table(POSTS)["label"].to_pylist()
    counts = f"{posts.count('bad')} | {posts.count('good')}"
    assert f"| posts | 12 | 5 | 4 | 7.5 | {counts} |" in body
    assert "Actively selected samples are not a random sample of the pool" in body


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # mlcroissant's use of rdflib, pandas
def test_croissant_is_valid_and_its_records_are_those_of_the_files(folder, caplog):
    with caplog.at_level(logging.ERROR):
        dataset = mlcroissant.Dataset(folder.path("croissant.json"))
    assert not dataset.metadata.ctx.issues.errors
    records = list(dataset.records("shapes/scans"))
    rows = folder.read_table(SCANS).to_pylist()
    assert [each["shapes/scans/sample_id"] for each in records] == [r["sample_id"] for r in rows]
    assert [each["shapes/scans/label"].decode() for each in records] == [r["label"] for r in rows]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # mlcroissant's use of rdflib, pandas
def test_license_description_and_citation_are_those_of_the_campaign(finished):
    about = ReleaseConfig(license="cc-by-4.0", description="Messages.", citation="Doe 2026")
    config = finished.config.model_copy(update={"release": about})
    folder = Storage(write_release(replace(finished, config=config), "licensed"))
    _, front, body = folder.read_bytes("README.md").decode().split("---\n", 2)
    assert yaml.safe_load(front)["license"] == "cc-by-4.0"
    assert "\nMessages.\n" in body
    assert "## Citation\n\n```\nDoe 2026\n```\n" in body
    dataset = mlcroissant.Dataset(folder.path("croissant.json")).metadata
    assert (dataset.license, dataset.cite_as) == (["cc-by-4.0"], "Doe 2026")
    assert dataset.description.startswith("Messages. 17 labeled samples")


def test_a_second_release_has_the_same_data_and_the_next_number(folder, finished):
    second = Storage(write_release(finished))
    assert second.root.endswith("/v2")
    for key in folder.keys("data"):
        assert second.read_bytes(key) == folder.read_bytes(key)


def test_a_release_is_never_overwritten(folder, finished):
    before = {key: folder.read_bytes(key) for key in folder.keys("")}
    with pytest.raises(StoreError, match=r"release v1 of .* exists"):
        write_release(finished, "v1")
    assert {key: folder.read_bytes(key) for key in folder.keys("")} == before


def test_files_of_an_interrupted_release_are_deleted(finished):
    finished.storage.write_bytes("release/spring/data/gone/old.parquet", b"half")
    release = Storage(write_release(finished, "spring"))
    assert [key for key in release.keys("data") if "gone" in key] == []


def test_flags_notes_and_ties_are_in_the_provenance_without_the_database(tmp_path):
    run = build_run(str(tmp_path), tasks=("mood",))
    labels = run.storage.read_table("rounds/0003/labels.parquet").drop_columns("tied")
    tied = pa.array([True] + [False] * (len(labels) - 1))
    run.storage.write_table("rounds/0003/labels.parquet", labels.append_column("tied", tied))
    sample_id = labels["sample_id"][0].as_py()
    said = {"task": "mood", "domain": "shop", "round": 3, "submitted_at": 5.0}
    rows = [
        {**said, "sample_id": sample_id, "kind": "flag", "text": "cut off"},
        {**said, "sample_id": 77, "kind": "note", "text": "my name is Ada"},
    ]
    run.storage.write_table("rounds/0003/remarks.parquet", pa.Table.from_pylist(rows, REMARKS))
    remember_forgotten(run.storage, DomainKey("mood", "shop"), [77])
    release = Storage(write_release(run))
    provenance = release.read_json("provenance.json")
    assert provenance["remarks"] == rows[:1]
    assert provenance["tied"] == 1
    data = pa.concat_tables([release.read_table(key) for key in release.keys("data")])
    (row,) = [each for each in data.to_pylist() if each["tied"]]
    assert (row["sample_id"], row["agreement"]) == (sample_id, pytest.approx(2 / 3))
    assert not run.storage.exists("labels.db")


@pytest.mark.parametrize("version", ["../v1", "a/b", "", " "])
def test_a_version_must_be_a_folder_name(finished, version):
    with pytest.raises(ConfigError, match="version"):
        write_release(finished, version)


def test_without_labels_there_is_nothing_to_release(tmp_path):
    run = build_run(str(tmp_path), rounds=1, tasks=("shapes",))
    labels = run.storage.read_table("rounds/0001/labels.parquet")
    run.storage.write_table("rounds/0001/labels.parquet", labels[:0])
    with pytest.raises(StoreError, match="nothing to release"):
        write_release(run)


def test_a_release_whose_models_are_gone_is_refused(tmp_path):
    run = build_run(str(tmp_path))
    key = "models/mood/0003/all/model.safetensors"
    run.storage.write_bytes(key, b"weights")
    run.storage.seal([key])
    write_release(run)
    (tmp_path / run.config.name / key).unlink()
    with pytest.raises(StoreError, match=rf"{key} \(it is missing\).*umc repair"):
        write_release(run)
    assert not run.storage.exists("release/v2/provenance.json")


def test_labels_of_a_domain_that_the_campaign_file_lacks_are_not_left_out(tmp_path):
    run = build_run(str(tmp_path), tasks=("mood",))
    mood = run.config.tasks["mood"]
    fewer = mood.model_copy(update={"domains": {"shop": mood.domains["shop"]}})
    run = replace(run, config=run.config.model_copy(update={"tasks": {"mood": fewer}}))
    said = r"have labels of domains that the campaign file lacks: 5 of mood/posts; put these"
    with pytest.raises(ConfigError, match=said):
        write_release(run)
    assert run.storage.keys("release") == []
