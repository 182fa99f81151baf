"""Tables as people have them, from the file to the pool, the oracle and the quarantine."""

import base64
import io
import json

import numpy as np
import PIL.Image
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.ingest.test_ingest import (
    DOMAIN,
    backwards,
    campaign,
    oracle_of,
    pool_of,
    quarantine_of,
    table_of,
)
from umc_ray.errors import DataError
from umc_ray.ingest import ingest as ingest_module
from umc_ray.ingest.ingest import ingest
from umc_ray.ingest.manifest import load_manifest
from umc_ray.records import POOL
from umc_ray.storage import Storage


@pytest.fixture(autouse=True)
def in_process(monkeypatch):
    monkeypatch.setattr(ingest_module, "stream", backwards)


def labeled(domain, labels, kind="classification"):
    """A campaign with other labels, whose known labels answer."""
    return campaign({**domain, "label": "label"}, kind, labels=labels)


def body(path, **options):
    return {"source": str(path), "text": "body", **options}


class Pool:
    """What ingest made of a table."""

    def __init__(self, folder, config):
        self.storage = Storage(str(folder / "run"))
        self.manifest = ingest(config, DOMAIN, "pool", self.storage)
        assert load_manifest(self.storage, DOMAIN, "pool") == self.manifest
        self.texts = [row["text"] for row in pool_of(self.storage, self.manifest)]
        self.notes = {note.what: note.count for note in self.manifest.notes}

    def labels(self):
        return [row["label"] for row in oracle_of(self.storage, self.manifest)]

    def reasons(self):
        return [row["reason"] for row in quarantine_of(self.storage)]


def test_a_long_field_is_one_sample_or_one_row_in_quarantine(tmp_path):
    short = "".join(f"{i},short text number {i}\n" for i in range(600))
    long = "".join(f"hello from a quoted line, which is not a row{i}\n" for i in range(3200))
    path = tmp_path / "long.csv"
    path.write_text(f'id,body\n{short}600,"{long}"\n')
    pool = Pool(tmp_path, campaign(body(path), backend="sheet"))
    assert (pool.manifest.rows, pool.manifest.bad) == (600, 1)
    (reason,) = pool.reasons()
    assert reason == f"text too long: {len(long)} characters"
    more = Pool(tmp_path / "b", campaign(body(path), backend="sheet", max_text_chars=200_000))
    assert (more.manifest.rows, more.texts[600]) == (601, long)


def test_a_column_that_a_table_has_twice_is_an_error(tmp_path):
    path = tmp_path / "two.csv"
    path.write_text("id,body,label,label\n1,text,no,yes\n")
    with pytest.raises(DataError, match="2 columns of the name 'label'"):
        Pool(tmp_path, campaign(body(path, label="label")))


def test_a_semicolon_table_in_cp1252_is_read_with_its_options(tmp_path):
    path = tmp_path / "excel.csv"
    rows = "".join(f"{i};Größe {i}, schön;{('café', 'süß')[i % 2]}\r\n" for i in range(40))
    path.write_bytes(f"id;body;label\r\n{rows}".encode("cp1252"))
    labels = ["café", "süß"]
    with pytest.raises(DataError, match=r'delimiter: ";" and encoding: cp1252'):
        Pool(tmp_path, labeled(body(path), labels))
    with pytest.raises(
        DataError, match=r"no usable row among 40: .*row 1: not UTF-8: byte 0xF6 at"
    ):
        Pool(tmp_path, labeled(body(path, delimiter=";"), labels))
    pool = Pool(tmp_path, labeled(body(path, delimiter=";", encoding="cp1252"), labels))
    assert pool.texts == [f"Größe {i}, schön" for i in range(40)]
    assert pool.labels() == labels * 20
    assert pool.manifest.notes == ()


def test_utf_8_that_is_read_as_another_encoding_is_noted(tmp_path):
    path = tmp_path / "texts.csv"
    path.write_text("body\nGröße\nschön\n", encoding="utf-8")
    said = "text files of UTF-8 read as cp1252, so letters are wrong: remove encoding"
    pool = Pool(tmp_path, campaign(body(path, encoding="cp1252"), backend="sheet"))
    assert (pool.texts[0], pool.notes) == ("GrÃ¶ÃŸe", {said: 1})
    for number, (content, encoding) in enumerate(
        [("Größe".encode("cp1252"), "cp1252"), (b"Size", "cp1252"), ("Größe".encode(), "UTF8")]
    ):
        path.write_bytes(b"body\n" + content)
        domain = body(path, encoding=encoding)
        assert Pool(tmp_path / str(number), campaign(domain, backend="sheet")).notes == {}


@pytest.mark.parametrize("encoding", ["utf-16", "utf-8-sig"])
def test_a_byte_order_mark_tells_the_encoding(tmp_path, encoding):
    path = tmp_path / "marked.csv"
    rows = "".join(f"{i},text {i},{('no', 'yes')[i % 2]}\n" for i in range(40))
    path.write_bytes(f"id,body,label\n{rows}".encode(encoding))
    pool = Pool(tmp_path, labeled(body(path, key="id"), ["no", "yes"]))
    assert (pool.manifest.rows, pool.manifest.bad, pool.labels()) == (40, 0, ["no", "yes"] * 20)


def test_labels_in_other_spellings_are_read_and_noted(tmp_path):
    spelled = [" Sports", "sports", "SPORTS", "cafe\u0301", "caf\u00e9", "skip it "]
    path = tmp_path / "spelled.csv"
    rows = "".join(f"{i},text {i},{spelled[i % 6]}\n" for i in range(60))
    path.write_text(f"id,body,label\n{rows}", encoding="utf-8")
    pool = Pool(tmp_path, labeled(body(path), ["Sports", "caf\u00e9", "skip it"]))
    assert pool.manifest.bad == 0
    assert pool.labels() == (["Sports"] * 3 + ["caf\u00e9"] * 2 + ["skip it"]) * 10
    assert pool.notes == {
        "label ' Sports' read as 'Sports'": 10,
        "label 'sports' read as 'Sports'": 10,
        "label 'SPORTS' read as 'Sports'": 10,
        r"label 'cafe\u0301' read as 'café'": 10,
        "label 'skip it ' read as 'skip it'": 10,
    }


def test_sets_of_labels_in_other_spellings_are_noted_one_by_one(tmp_path):
    path = tmp_path / "sets.csv"
    path.write_text("body,label\na,x|Y\nb,(None)\nc,X | y\nd,y|x\n")
    pool = Pool(tmp_path, labeled(body(path), ["x", "y"], "multi_label"))
    assert pool.labels() == ["x | y", "(none)", "x | y", "x | y"]
    assert pool.notes == {"label 'Y' read as 'y'": 1, "label 'X' read as 'x'": 1}


def test_numbers_as_labels_may_have_a_point(tmp_path):
    path = tmp_path / "numbers.csv"
    found = ["1.0", "0.0", "1", "0"]
    rows = "".join(f"{i},text {i},{found[i % 4]}\n" for i in range(40))
    path.write_text(f"id,body,label\n{rows}")
    pool = Pool(tmp_path, labeled(body(path), ["0", "1"]))
    assert pool.labels() == ["1", "0"] * 20
    assert pool.notes == {"label '1.0' read as '1'": 10, "label '0.0' read as '0'": 10}


def test_a_wrong_label_is_told_with_the_one_that_was_meant(tmp_path):
    path = tmp_path / "wrong.csv"
    path.write_text("body,label\na,Sprots\nb,x\nc,Sports\nd,law\n")
    pool = Pool(tmp_path, labeled(body(path), ["Sports", "law"]))
    assert pool.labels() == ["Sports", "law"]
    assert pool.reasons() == [
        "unknown label: label 'Sprots' (did you mean 'Sports'?) is not one of Sports, law",
        "unknown label: label 'x' is not one of Sports, law",
    ]


def test_texts_that_one_cannot_see_are_bad_rows(tmp_path):
    path = tmp_path / "blank.csv"
    path.write_text("id,body\n1,\u200b\u200b\n2,   \n3,real text\n", encoding="utf-8")
    pool = Pool(tmp_path, campaign(body(path), backend="sheet", max_bad_share=1))
    assert pool.texts == ["real text"]
    assert pool.reasons() == [
        r"blank text: only invisible characters: '\u200b\u200b'",
        "blank text",
    ]


def test_texts_stay_as_they_came_in_and_equal_ones_are_duplicates(tmp_path):
    path = tmp_path / "same.jsonl"
    texts = [" caf\u00e9\r\nb ", "cafe\u0301\nb", "caf\u00e9\nb", "caf\u00e9 b", "=1+1", "@home"]
    path.write_text("".join(json.dumps({"body": text}) + "\n" for text in texts))
    pool = Pool(tmp_path, campaign(body(path), backend="sheet"))
    assert pool.texts == [texts[0], *texts[3:]]
    assert pool.manifest.duplicates == 2


def test_keys_that_look_the_same_are_one(tmp_path):
    path = tmp_path / "keys.csv"
    path.write_text("id,body\ncaf\u00e9,a\ncafe\u0301,b\n x,c\nx,d\ny,e\n", encoding="utf-8")
    config = campaign(body(path, key="id"), backend="sheet")
    pool = Pool(tmp_path, config)
    assert pool.texts == ["a", "c", "e"]
    assert pool.manifest.reasons == {"repeated key": 2}
    keys = table_of(pool.storage, pool.manifest, "pool", POOL)["key"].to_pylist()
    assert keys == ["caf\u00e9", " x", "y"]


def hugging_face(path, columns, **features):
    table = pa.table(columns).replace_schema_metadata(
        {"huggingface": json.dumps({"info": {"features": features}})}
    )
    pq.write_table(table, path)
    return path


NAMES = {"names": ["neg", "pos"], "_type": "ClassLabel"}


def test_classes_of_hugging_face_have_their_names(tmp_path):
    columns = {"body": [f"text {i}" for i in range(6)], "label": [0, 1, 0, 1, -1, None]}
    path = hugging_face(tmp_path / "hf.parquet", columns, label=NAMES)
    pool = Pool(tmp_path, labeled(body(path), ["pos", "neg"]))
    assert pool.labels() == ["neg", "pos", "neg", "pos", None, None]
    german = body(path, label_names=["schlecht", "gut"])
    pool = Pool(tmp_path / "german", labeled(german, ["gut", "schlecht"]))
    assert pool.labels()[:2] == ["schlecht", "gut"]


def test_lists_of_classes_of_hugging_face_have_their_names(tmp_path):
    columns = {"body": ["a", "b", "c"], "label": [[0, 1], [1], []]}
    feature = {"feature": NAMES, "_type": "Sequence"}
    path = hugging_face(tmp_path / "hf.parquet", columns, label=feature)
    pool = Pool(tmp_path, labeled(body(path), ["neg", "pos"], "multi_label"))
    assert pool.labels() == ["neg | pos", "pos", "(none)"]


@pytest.mark.parametrize(
    ("names", "ids"),
    [
        (["bad", "good"], ["0", "1", "1.0", "7"]),
        ({"-1": "bad", "5": "good"}, ["-1", "5", "05", "0"]),
        ({"n": "bad", "y": "GOOD"}, ["n", "y", "Y ", "0"]),
    ],
)
def test_class_ids_are_named_by_the_campaign(tmp_path, names, ids):
    path = tmp_path / "ids.csv"
    path.write_text("body,label\n" + "".join(f"text {each},{each}\n" for each in ids))
    pool = Pool(tmp_path, labeled(body(path, label_names=names), ["good", "bad"]))
    assert pool.labels() == ["bad", "good", "good"]
    (reason,) = pool.reasons()
    assert reason.startswith(f"unknown label: class id: label '{ids[3]}' is not one of ")


def test_sets_of_class_ids_are_named_too(tmp_path):
    path = tmp_path / "ids.csv"
    path.write_text("body,label\na,0 | 2\nb,1\nc,(none)\nd,\n")
    config = labeled(body(path, label_names=["x", "y", "z"]), ["z", "y", "x"], "multi_label")
    assert Pool(tmp_path, config).labels() == ["z | x", "y", "(none)", None]


def png(seed):
    stream = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 255, (8, 8), dtype=np.uint8)
    PIL.Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def images_of(folder, path):
    config = campaign({"source": str(path), "image": "image"}, backend="sheet", max_bad_share=1)
    pool = Pool(folder, config)
    return [row["image"] for row in pool_of(pool.storage, pool.manifest)], pool.reasons()


def test_images_of_hugging_face_are_read_from_their_structs(tmp_path):
    files = [png(seed) for seed in range(3)]
    pq.write_table(
        pa.table({"image": [{"bytes": file, "path": None} for file in files]}),
        tmp_path / "hf.parquet",
    )
    assert images_of(tmp_path, tmp_path / "hf.parquet") == (files, [])


def test_images_may_be_base64_or_data_uris_or_paths(tmp_path):
    files = [png(seed) for seed in range(4)]
    texts = [base64.b64encode(file).decode() for file in files]
    (tmp_path / "3.png").write_bytes(files[3])
    lines = "\\n".join(texts[2][i : i + 76] for i in range(0, len(texts[2]), 76))
    rows = [
        f"data:image/png;base64,{texts[0]}",
        texts[1],
        lines,
        "3.png",
        "data:image/png;base64,?",
    ]
    path = tmp_path / "images.jsonl"
    path.write_text("".join(f'{{"image": "{row}"}}\n' for row in rows))
    found, reasons = images_of(tmp_path, path)
    assert found == files
    assert [reason.partition(":")[0] for reason in reasons] == ["undecodable image"]
