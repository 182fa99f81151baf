import io
import json
import logging
from dataclasses import dataclass, field

import numpy as np
import PIL.Image
import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from umc_ray.cluster.stream import read_summaries, run_item
from umc_ray.config.campaign import CampaignConfig
from umc_ray.errors import ConfigError, DataError, StoreError
from umc_ray.ingest import ingest as ingest_module
from umc_ray.ingest import parts
from umc_ray.ingest import stage as staging
from umc_ray.ingest.ingest import ingest
from umc_ray.ingest.manifest import load_manifest
from umc_ray.methods.identity import sample_ids
from umc_ray.records import ORACLE, POOL, DomainKey, Part
from umc_ray.storage import Storage

DOMAIN = DomainKey("task", "domain")


def backwards(worker, items, compute, on_rows=None):
    """Run a pass in this process, in reverse order: a cluster may use any order."""
    for item in reversed(items):
        if not worker.storage.exists(worker.output_key(item)):
            rows = run_item(worker, item).rows
            if on_rows is not None:
                on_rows(rows)
    return read_summaries(
        worker.storage, [worker.output_key(item) for item in items], worker.summary_type
    )


@pytest.fixture
def without_ray(monkeypatch):
    monkeypatch.setattr(ingest_module, "stream", backwards)


TEXT = {"kind": "static_text", "path": "not read here"}
IMAGE = {"kind": "pixels"}


def campaign(domain, kind="classification", backend="replay", labels=("no", "yes"), **limits):
    return CampaignConfig.model_validate(
        {
            "name": "test",
            "budget": {"labels": 10, "per_round": 5},
            "annotation": {"backend": backend},
            "ingest": {"max_bad_share": 0.5, **limits},
            "tasks": {
                "task": {
                    "kind": kind,
                    "labels": list(labels),
                    "encoder": TEXT if {"text", "columns"} & domain.keys() else IMAGE,
                    "domains": {"domain": domain},
                }
            },
        }
    )


def texts(source, **columns):
    paths = [str(each) for each in source] if isinstance(source, list) else str(source)
    return {"source": paths, "text": "text", "label": "label", **columns}


def write_rows(path, rows):
    """Write rows of (text, label) as JSON lines; strings are written unchanged."""
    lines = [
        row if isinstance(row, str) else json.dumps({"text": row[0], "label": row[1]})
        for row in rows
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


def contents(storage):
    """Return everything that is stored, as Python objects, but when sources were written."""
    return {
        key: storage.read_json(key)
        if key.endswith(".json")
        else storage.read_table(key).to_pylist()
        for key in storage.keys("")
        if not key.startswith("sources/")
    }


def table_of(storage, manifest, name, schema):
    tables = [storage.read_table(part.key(name)) for part in manifest.parts]
    return pa.concat_tables(table.cast(schema) for table in tables)


def pool_of(storage, manifest):
    return table_of(storage, manifest, "pool", POOL).to_pylist()


def oracle_of(storage, manifest):
    return table_of(storage, manifest, "oracle", ORACLE).to_pylist()


def quarantine_of(storage, split="pool"):
    keys = storage.keys(f"quarantine/{split}/task/domain")
    return [row for key in keys for row in storage.read_table(key).to_pylist()]


@pytest.mark.usefixtures("without_ray")
def test_every_row_is_kept_dropped_or_quarantined(tmp_path):
    first = write_rows(tmp_path / "b.jsonl", [("same", None), ("x", "no"), ("same", "yes")])
    second = write_rows(tmp_path / "a.jsonl", ["{oops", ("same", "no"), ("z", None), ("y", "?")])
    storage, config = Storage(str(tmp_path / "run")), campaign(texts([first, second]))
    finished = []
    manifest = ingest(config, DOMAIN, "pool", storage, lambda rows: finished.append)
    keys = ["b.jsonl#1", "b.jsonl#2", "a.jsonl#3"]
    ids = sample_ids("task", "domain", "pool", keys).tolist()
    assert manifest.parts == (Part("pool", DOMAIN, "part-00000", 3),)
    assert (manifest.rows, manifest.duplicates, manifest.conflicts, manifest.leaks) == (3, 2, 1, 0)
    assert (manifest.bad, manifest.labeled) == (2, 2)
    assert manifest.reasons == {"broken JSON": 1, "unknown label": 1}
    assert manifest.sources == {str(first): 1, str(second): 1}
    assert sum(finished) == 7
    pool = pool_of(storage, manifest)
    assert [row["sample_id"] for row in pool] == ids
    assert [row["key"] for row in pool] == keys
    assert [row["text"] for row in pool] == ["same", "x", "z"]
    assert [row["source"] for row in pool] == [str(first), str(first), str(second)]
    assert [row["aliases"] for row in pool] == [["b.jsonl#3", "a.jsonl#2"], [], []]
    assert [row["image"] for row in pool] == [None] * 3
    assert oracle_of(storage, manifest) == [
        {"sample_id": ids[0], "label": "yes", "ratings": None},
        {"sample_id": ids[1], "label": "no", "ratings": None},
        {"sample_id": ids[2], "label": None, "ratings": None},
    ]
    bad = quarantine_of(storage)
    assert [(row["source"], row["row"]) for row in bad] == [(str(second), "1"), (str(second), "4")]
    assert storage.keys("staging") == []
    assert (
        ingest(config, DOMAIN, "pool", storage)
        == load_manifest(storage, DOMAIN, "pool")
        == manifest
    )


@pytest.mark.usefixtures("without_ray")
def test_the_sources_are_not_read_again_once_the_manifest_exists(tmp_path):
    source = write_rows(tmp_path / "a.jsonl", [("x", "no")])
    storage = Storage(str(tmp_path / "run"))
    manifest = ingest(campaign(texts(source)), DOMAIN, "pool", storage)
    source.unlink()
    config = campaign(texts(source), changed_sources="keep")
    assert ingest(config, DOMAIN, "pool", storage).parts == manifest.parts


def test_a_missing_manifest_is_an_error(tmp_path):
    with pytest.raises(StoreError, match=r"task/domain pool has not been ingested into .*run"):
        load_manifest(Storage(str(tmp_path / "run")), DOMAIN, "pool")


words = st.sampled_from(["a", "b", "c", "d"])
files = st.lists(
    st.lists(st.tuples(words, st.sampled_from([None, "no", "yes", "?"])), max_size=6),
    min_size=1,
    max_size=4,
)


def brute_force(rows, held_out_texts):
    """Return answers, leaks, bad rows and conflicts of (key, text, label) rows in source order."""
    kept, leaks, bad = {}, 0, 0
    for key, text, label in rows:
        if label == "?":
            bad += 1
        elif text in held_out_texts:
            leaks += 1
        else:
            kept.setdefault(text, []).append((key, label))
    known = {text: [label for _, label in rows if label] for text, rows in kept.items()}
    answers = [
        (text, [key for key, _ in rows], [*known[text], None][0]) for text, rows in kept.items()
    ]
    return answers, leaks, bad, sum(len(set(labels)) > 1 for labels in known.values())


@given(files, st.sets(words, max_size=2), st.integers(1, 5), st.integers(1, 3))
@settings(max_examples=30)
def test_duplicates_across_files_chunks_and_parts_agree_with_brute_force(
    tmp_path_factory, row_files, held_out_texts, rows_per_part, chunk_rows
):
    folder = tmp_path_factory.mktemp("ingest")
    paths = [write_rows(folder / f"{number}.jsonl", rows) for number, rows in enumerate(row_files)]
    rows = [
        (f"{number}.jsonl#{row}", *values)
        for number, file in enumerate(row_files)
        for row, values in enumerate(file, start=1)
    ]
    domain = texts(paths)
    if held_out_texts:
        held_out = write_rows(folder / "test.jsonl", [(text, "no") for text in held_out_texts])
        domain["test"] = str(held_out)
    config = campaign(domain, max_bad_share=1, rows_per_part=rows_per_part)
    answers, leaks, bad, conflicts = brute_force(rows, held_out_texts)
    storage = Storage(str(folder / "run"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ingest_module, "stream", backwards)
        patch.setattr(staging, "CHUNK_ROWS", chunk_rows)
        if not answers:
            with pytest.raises(DataError, match="task/domain pool: no usable row among"):
                ingest(config, DOMAIN, "pool", storage)
            return
        manifest = ingest(config, DOMAIN, "pool", storage)
    pool, oracle = pool_of(storage, manifest), oracle_of(storage, manifest)
    assert [
        (row["text"], [row["key"], *row["aliases"]], known["label"])
        for row, known in zip(pool, oracle, strict=True)
    ] == answers
    assert [row["sample_id"] for row in pool] == [row["sample_id"] for row in oracle]
    assert (manifest.leaks, manifest.bad, manifest.conflicts) == (leaks, bad, conflicts)
    assert manifest.rows + manifest.duplicates + manifest.leaks + manifest.bad == len(rows)
    sizes = [part.rows for part in manifest.parts]
    assert sizes[:-1] == [rows_per_part] * (len(sizes) - 1)
    assert [part.name for part in manifest.parts] == [f"part-{n:05d}" for n in range(len(sizes))]


@pytest.mark.usefixtures("without_ray")
def test_a_part_ends_before_it_gets_too_large(tmp_path, monkeypatch):
    monkeypatch.setattr(parts, "PART_BYTES", 10)
    lengths = [4, 6, 2, 30, 3, 3, 3, 3]
    rows = [(f"{number}" * length, None) for number, length in enumerate(lengths)]
    source = write_rows(tmp_path / "a.jsonl", rows)
    storage = Storage(str(tmp_path / "run"))
    manifest = ingest(campaign(texts(source)), DOMAIN, "pool", storage)
    assert [part.rows for part in manifest.parts] == [2, 1, 1, 3, 1]


@pytest.mark.usefixtures("without_ray")
def test_moving_the_data_keeps_the_ids(tmp_path):
    manifests = []
    for place in ("here", "far/away"):
        folder = tmp_path / place
        write_rows(folder / "x/a.jsonl", [("one", None)])
        write_rows(folder / "y/a.jsonl", [("two", None)])
        storage = Storage(str(tmp_path / "run" / place))
        manifests.append(ingest(campaign(texts(folder)), DOMAIN, "pool", storage))
        assert [row["key"] for row in pool_of(storage, manifests[-1])] == [
            "x/a.jsonl#1",
            "y/a.jsonl#1",
        ]
    assert manifests[0].fingerprint == manifests[1].fingerprint


@pytest.mark.usefixtures("without_ray")
def test_different_contents_have_different_fingerprints(tmp_path):
    fingerprints = set()
    for text in ("one", "two"):
        source = write_rows(tmp_path / text / "a.jsonl", [(text, None)])
        config = campaign(texts(source))
        fingerprints.add(ingest(config, DOMAIN, "pool", Storage(str(tmp_path / text))).fingerprint)
    assert len(fingerprints) == 2


@pytest.mark.usefixtures("without_ray")
def test_a_repeated_key_is_a_bad_row(tmp_path):
    source = tmp_path / "a.csv"
    source.write_text("id,text,label\n1,one,no\n2,two,no\n1,three,no\n")
    storage = Storage(str(tmp_path / "run"))
    manifest = ingest(campaign(texts(source, key="id")), DOMAIN, "pool", storage)
    assert [row["key"] for row in pool_of(storage, manifest)] == ["1", "2"]
    assert quarantine_of(storage) == [
        {"source": str(source), "row": "3", "reason": "repeated key: 1"}
    ]
    assert (manifest.bad, manifest.duplicates) == (1, 0)


@pytest.mark.usefixtures("without_ray")
def test_a_large_parquet_file_gives_the_same_rows_in_pieces(tmp_path, monkeypatch):
    monkeypatch.setattr(staging, "ROWS_PER_ITEM", 5)
    source = tmp_path / "a.parquet"
    table = pa.table({"text": [f"text {n}" for n in range(20)], "label": ["no"] * 20})
    pq.write_table(table, source, row_group_size=3)
    assert staging.split_work([str(source)], are_images=False) == [
        staging.WorkItem((str(source),), groups) for groups in ((0, 2), (2, 4), (4, 6), (6, 7))
    ]
    storage = Storage(str(tmp_path / "run"))
    pool = pool_of(storage, ingest(campaign(texts(source)), DOMAIN, "pool", storage))
    assert [row["key"] for row in pool] == [f"a.parquet#{n + 1}" for n in range(20)]
    assert [row["text"] for row in pool] == [f"text {n}" for n in range(20)]


@pytest.mark.usefixtures("without_ray")
def test_ratings_are_stored_in_the_oracle(tmp_path):
    source = tmp_path / "a.parquet"
    pq.write_table(pa.table({"text": ["x", "y"], "votes": [[1, -2, 1], None]}), source)
    storage = Storage(str(tmp_path / "run"))
    manifest = ingest(campaign(texts(source, label=None, ratings="votes")), DOMAIN, "pool", storage)
    known = [(row["label"], row["ratings"]) for row in oracle_of(storage, manifest)]
    assert known == [(None, [1, -2, 1]), (None, None)]
    assert manifest.labeled == 0


@pytest.mark.usefixtures("without_ray")
def test_several_labels_reach_the_oracle_as_text_and_equal_ones_are_no_conflict(tmp_path):
    source = tmp_path / "a.parquet"
    labels = [["yes", "no"], [], None, ["no", "yes"], ["no"]]
    pq.write_table(pa.table({"text": ["x", "y", "z", "x", "y"], "label": labels}), source)
    storage = Storage(str(tmp_path / "run"))
    manifest = ingest(campaign(texts(source), "multi_label"), DOMAIN, "pool", storage)
    known = [row["label"] for row in oracle_of(storage, manifest)]
    assert known == ["no | yes", "(none)", None]
    assert (manifest.labeled, manifest.duplicates, manifest.conflicts) == (2, 2, 1)


@pytest.mark.usefixtures("without_ray")
def test_people_label_a_pool_without_a_label_column_and_are_tested_on_one_with_it(tmp_path):
    source, held_out = tmp_path / "pool.csv", tmp_path / "test.csv"
    source.write_text("text\nfirst\nshared\n")
    held_out.write_text("text,label\nshared,no\nother,yes\nunknown,maybe\nnone,\n")
    domain = texts(source, test=str(held_out))
    storage = Storage(str(tmp_path / "run"))
    manifest = ingest(campaign(domain, backend="sheet"), DOMAIN, "pool", storage)
    assert [row["text"] for row in pool_of(storage, manifest)] == ["first"]
    assert manifest.leaks == 1
    tested = load_manifest(storage, DOMAIN, "test")
    assert [row["label"] for row in oracle_of(storage, tested)] == ["no", "yes"]
    assert tested.reasons == {"unknown label": 1, "missing label": 1}
    with pytest.raises(DataError, match="has no column 'label'; it has text"):
        ingest(campaign(domain), DOMAIN, "pool", Storage(str(tmp_path / "replay")))


@pytest.mark.usefixtures("without_ray")
def test_without_known_answers_there_is_no_oracle(tmp_path):
    source = write_rows(tmp_path / "a.jsonl", [("x", "no")])
    storage = Storage(str(tmp_path / "run"))
    ingest(campaign(texts(source, label=None), backend="sheet"), DOMAIN, "pool", storage)
    assert storage.keys("oracle") == []


def write_images(folder, count, broken=()):
    """Write images into folders named after their labels, some of them cut off."""
    for number in range(count):
        path = folder / ["no", "yes"][number % 2] / f"{number:03d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        stream = io.BytesIO()
        pixels = np.random.default_rng(number).integers(0, 255, (9, 9), dtype=np.uint8)
        PIL.Image.fromarray(pixels).save(stream, "PNG")
        path.write_bytes(stream.getvalue()[: 90 if number in broken else None])
    return folder


@pytest.mark.usefixtures("without_ray")
def test_an_image_folder_with_three_percent_of_broken_files_is_usable(tmp_path, monkeypatch):
    monkeypatch.setattr(staging, "IMAGES_PER_ITEM", 30)
    images = write_images(tmp_path / "images", 100, broken=(7, 50, 98))
    (images / "yes/copy.png").write_bytes((images / "no/000.png").read_bytes())
    domain = {"source": str(images), "label": "folder"}
    storage = Storage(str(tmp_path / "run"))
    manifest = ingest(campaign(domain, max_bad_share=0.03), DOMAIN, "pool", storage)
    assert (manifest.rows, manifest.bad, manifest.duplicates, manifest.conflicts) == (97, 3, 1, 1)
    assert manifest.reasons == {"undecodable image": 3}
    pool = pool_of(storage, manifest)
    keys = sorted(f"{['no', 'yes'][n % 2]}/{n:03d}.png" for n in range(100) if n not in (7, 50, 98))
    assert [row["key"] for row in pool] == keys
    assert all(row["image"] == (images / row["key"]).read_bytes() for row in pool)
    assert pool[0]["aliases"] == ["yes/copy.png"]
    labels = [row["label"] for row in oracle_of(storage, manifest)]
    assert labels == [key.split("/")[0] for key in keys]
    bad = {row["source"] for row in quarantine_of(storage)}
    assert bad == {f"{images}/{name}.png" for name in ("yes/007", "no/050", "no/098")}


@pytest.mark.usefixtures("without_ray")
def test_a_table_may_list_image_files(tmp_path):
    write_images(tmp_path / "images", 3, broken=(2,))
    table = tmp_path / "list.csv"
    table.write_text(
        "file,label\nimages/no/000.png,no\nimages/yes/001.png,\nimages/no/002.png,no\n"
    )
    domain = {"source": str(table), "image": "file", "label": "label"}
    storage = Storage(str(tmp_path / "run"))
    manifest = ingest(campaign(domain), DOMAIN, "pool", storage)
    pool = pool_of(storage, manifest)
    assert [row["key"] for row in pool] == ["list.csv#1", "list.csv#2"]
    assert pool[1]["image"] == (tmp_path / "images/yes/001.png").read_bytes()
    assert manifest.reasons == {"undecodable image": 1}


@pytest.mark.usefixtures("without_ray")
def test_too_many_bad_rows_are_an_error_and_stay_in_quarantine(tmp_path):
    rows = [(f"text {number}", "no") for number in range(92)] + ["{", ("", "no")] * 4
    source = write_rows(tmp_path / "a.jsonl", rows)
    storage = Storage(str(tmp_path / "run"))
    with pytest.raises(DataError) as caught:
        ingest(campaign(texts(source), max_bad_share=0.07), DOMAIN, "pool", storage)
    message = str(caught.value)
    assert message.startswith("task/domain pool: 8 of 100 rows ")
    assert "ingest.max_bad_share allows 7.0%" in message
    assert f"{source} row 93: broken JSON" in message
    assert f"; {source} row 94: blank text; {source} row 95: broken JSON" in message
    assert message.endswith("see all of them in quarantine/pool/task/domain")
    assert "\n" not in message
    assert len(quarantine_of(storage)) == 8
    assert not storage.exists("pool/pool/task/domain/manifest.json")
    manifest = ingest(campaign(texts(source), max_bad_share=0.08), DOMAIN, "pool", storage)
    assert (manifest.rows, manifest.bad) == (92, 8)


@pytest.mark.usefixtures("without_ray")
def test_an_unreadable_file_counts_by_its_share_of_the_files(tmp_path):
    write_rows(tmp_path / "a.jsonl", [(f"text {number}", "no") for number in range(99)])
    (tmp_path / "b.parquet").write_bytes(b"PAR1 is all that is left")
    storage = Storage(str(tmp_path / "run"))
    message = r"1 of 100 rows and 50\.0% of the files .*b\.parquet row 1: unreadable file"
    with pytest.raises(DataError, match=message):
        ingest(campaign(texts(tmp_path), max_bad_share=0.4), DOMAIN, "pool", storage)
    manifest = ingest(campaign(texts(tmp_path), max_bad_share=0.5), DOMAIN, "pool", storage)
    assert (manifest.rows, manifest.reasons) == (99, {"unreadable file": 1})


@pytest.mark.usefixtures("without_ray")
@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "no usable row among 0: the sources are empty"),
        ([(" ", None)], r"no usable row among 1: .*a\.jsonl row 1: blank text"),
        ([("held out", None)], "no usable row among 1: all are in test splits"),
    ],
)
def test_a_domain_without_a_usable_row_is_an_error(tmp_path, rows, message):
    source = write_rows(tmp_path / "a.jsonl", rows)
    held_out = write_rows(tmp_path / "test.jsonl", [("held out", "no")])
    config = campaign(texts(source, test=str(held_out)), max_bad_share=1)
    with pytest.raises(DataError, match=f"task/domain pool: {message}"):
        ingest(config, DOMAIN, "pool", Storage(str(tmp_path / "run")))


@pytest.mark.parametrize(
    ("domain", "split", "message"),
    [
        ({"source": "/x", "label": "y"}, "pool", "have no columns"),
        ({"source": "/x", "key": "y"}, "pool", "have no columns"),
        ({"source": "/x", "text": "y", "test": "/y"}, "test", "needs label"),
        ({"source": "/x", "text": "y", "label": "z"}, "test", "has no test split"),
    ],
)
def test_a_campaign_that_asks_for_what_cannot_be_is_refused(tmp_path, domain, split, message):
    config = campaign(domain, backend="sheet")
    with pytest.raises(ConfigError, match=f"task/domain.* {message}"):
        ingest(config, DOMAIN, split, Storage(str(tmp_path)))


class Killed(BaseException):
    """Raised where the process would be killed."""


@dataclass(frozen=True)
class Dying(Storage):
    """A storage that raises Killed at the write with the given number."""

    last: int
    written: list[str] = field(default_factory=list)

    def write_bytes(self, key, data):
        if len(self.written) == self.last:
            raise Killed
        self.written.append(key)
        super().write_bytes(key, data)

    def delete(self, prefix):
        """Count a deletion like a write; it is interrupted halfway."""
        if len(self.written) == self.last:
            for key in self.keys(prefix)[::2]:
                pafs.LocalFileSystem().delete_file(self.path(key))
            raise Killed
        self.written.append(prefix)
        super().delete(prefix)


@pytest.fixture
def campaign_of_two_files(tmp_path, monkeypatch):
    monkeypatch.setattr(staging, "CHUNK_ROWS", 2)
    numbers = [0, 1, 2, 0, 3, 4]
    write_rows(tmp_path / "data/a.jsonl", [(f"a {number}", "no") for number in numbers])
    write_rows(tmp_path / "data/b.jsonl", ["{", ("a 1", "yes"), ("held out", "no"), ("b", None)])
    held_out = write_rows(tmp_path / "test.jsonl", [("held out", "no")])
    return campaign(texts(tmp_path / "data", test=str(held_out)), rows_per_part=2)


@pytest.mark.usefixtures("without_ray")
def test_a_run_that_is_killed_at_any_write_resumes_to_the_same_result(
    tmp_path, campaign_of_two_files
):
    counting = Dying(str(tmp_path / "whole"), last=10_000)
    ingest(campaign_of_two_files, DOMAIN, "pool", counting)
    expected = contents(counting)
    assert len(counting.written) > 30
    for last in range(len(counting.written)):
        storage = Storage(str(tmp_path / f"killed-{last}"))
        with pytest.raises(Killed):
            ingest(campaign_of_two_files, DOMAIN, "pool", Dying(storage.root, last))
        ingest(campaign_of_two_files, DOMAIN, "pool", storage)
        assert contents(storage) == expected, f"killed before {counting.written[last]}"


@pytest.mark.usefixtures("without_ray")
def test_after_a_kill_nothing_of_changed_sources_is_reused(tmp_path, campaign_of_two_files):
    source = tmp_path / "data/b.jsonl"
    before = source.read_text()
    counting = Dying(str(tmp_path / "counted"), last=10_000)
    ingest(campaign_of_two_files, DOMAIN, "pool", counting)
    write_rows(source, [("a 4", "no"), ("new", "no")])
    expected = Storage(str(tmp_path / "whole"))
    ingest(campaign_of_two_files, DOMAIN, "pool", expected)
    manifest = counting.written.index("pool/pool/task/domain/manifest.json")
    for last in range(manifest - 6, manifest + 1):
        source.write_text(before)
        storage = Storage(str(tmp_path / f"killed-{last}"))
        with pytest.raises(Killed):
            ingest(campaign_of_two_files, DOMAIN, "pool", Dying(storage.root, last))
        write_rows(source, [("a 4", "no"), ("new", "no")])
        ingest(campaign_of_two_files, DOMAIN, "pool", storage)
        assert contents(storage) == contents(expected)


@pytest.fixture(scope="module")
def bucket():
    """Start an S3 server on the loopback interface and create a bucket."""
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer("127.0.0.1", 0)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        patch.setenv("AWS_ACCESS_KEY_ID", "test")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "test")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        filesystem = pafs.S3FileSystem(
            endpoint_override=f"http://{host}:{port}", allow_bucket_creation=True
        )
        filesystem.create_dir("umc-ingest")
        yield filesystem
    server.stop()


@pytest.mark.usefixtures("without_ray")
def test_sources_and_results_may_be_on_s3(tmp_path, bucket):
    images = write_images(tmp_path / "images", 6, broken=(5,))
    (images / "list [1]%20.csv").write_text("file,label\nno/000.png,no\nyes/001.png,yes\ngone,no\n")
    pafs.copy_files(str(images), "umc-ingest/in", destination_filesystem=bucket)
    storage = Storage("s3://umc-ingest/run")
    folder = campaign({"source": "s3://umc-ingest/in/*/0*.png", "label": "folder"})
    manifest = ingest(folder, DOMAIN, "pool", storage)
    pool = pool_of(storage, manifest)
    assert [row["key"] for row in pool][:2] == ["no/000.png", "no/002.png"]
    assert all(row["image"] == (images / row["key"]).read_bytes() for row in pool)
    assert [row["source"] for row in quarantine_of(storage)] == ["s3://umc-ingest/in/yes/005.png"]
    assert storage.keys("staging") == []
    assert ingest(folder, DOMAIN, "pool", storage) == manifest
    table = {"source": "s3://umc-ingest/in/list [1]%20.csv", "image": "file", "label": "label"}
    listed = Storage("s3://umc-ingest/listed")
    found = ingest(campaign(table), DOMAIN, "pool", listed)
    assert (found.rows, found.reasons) == (2, {"unreadable image": 1})
    with pytest.raises(DataError, match=r"s3://umc-ingest/none\.csv does not exist"):
        ingest(campaign(texts("s3://umc-ingest/none.csv")), DOMAIN, "pool", Storage(str(tmp_path)))


@pytest.mark.ray
@pytest.mark.usefixtures("ray_cluster")
def test_a_cluster_gives_the_same_result_as_one_process(
    tmp_path, campaign_of_two_files, monkeypatch
):
    cluster, process = Storage(str(tmp_path / "cluster")), Storage(str(tmp_path / "process"))
    ingest(campaign_of_two_files, DOMAIN, "pool", cluster)
    monkeypatch.undo()
    monkeypatch.setattr(ingest_module, "stream", backwards)
    ingest(campaign_of_two_files, DOMAIN, "pool", process)
    assert contents(cluster) == contents(process)


@pytest.mark.ray
@pytest.mark.usefixtures("ray_cluster")
def test_a_data_error_keeps_its_type_and_message_on_a_cluster(tmp_path):
    source = tmp_path / "a.csv"
    source.write_text("body\nx\n")
    with pytest.raises(DataError, match="has no column 'text'; it has body"):
        ingest(campaign(texts(source)), DOMAIN, "pool", Storage(str(tmp_path / "run")))


def test_the_rows_to_expect_are_told_before_any_is_read(tmp_path, without_ray):
    write_rows(tmp_path / "a.jsonl", [(f"text {i}", "no") for i in range(20)])
    write_rows(tmp_path / "test.jsonl", [(f"test {i}", "no") for i in range(10)])
    domain = texts(tmp_path / "a.jsonl", test=str(tmp_path / "test.jsonl"))
    told = []

    def follow(rows):
        told.append(rows)
        return lambda done: None

    ingest(campaign(domain), DOMAIN, "pool", Storage(str(tmp_path / "run")), follow)
    assert told == pytest.approx([10, 20], rel=0.1)


def test_the_test_split_of_another_domain_is_left_out_of_the_pool(tmp_path, without_ray):
    write_rows(tmp_path / "a.jsonl", [(f"text {i}", "no") for i in range(20)])
    write_rows(tmp_path / "b.jsonl", [(f"other {i}", "no") for i in range(20)])
    write_rows(tmp_path / "test.jsonl", [(f"text {i}", "no") for i in range(15, 25)])
    config = campaign(texts(tmp_path / "a.jsonl")).model_dump()
    other = texts(tmp_path / "b.jsonl", test=str(tmp_path / "test.jsonl"))
    config["tasks"]["task"]["domains"]["other"] = other
    config = CampaignConfig.model_validate(config)
    storage = Storage(str(tmp_path / "run"))
    manifest = ingest(config, DOMAIN, "pool", storage)
    assert (manifest.rows, manifest.leaks) == (15, 5)
    assert {row["text"] for row in pool_of(storage, manifest)} == {f"text {i}" for i in range(15)}
