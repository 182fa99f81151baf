import json
import os
import re

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from tests.ingest.pictures import saved
from umc_ray.ingest.inspection import Contents, inspect
from umc_ray.ingest.sampling import (
    Limits,
    Portion,
    Sampling,
    everything,
    expected_rows,
    letters,
    some,
)
from umc_ray.ingest.sources import SourceFile, common_folder, list_files
from umc_ray.ingest.stage import Reader, WorkItem
from umc_ray.ingest.tally import SPECIMENS
from umc_ray.ingest.validate import Rules
from umc_ray.records import DomainKey
from umc_ray.storage import Storage
from umc_ray.tasks.registry import task_kind

NOTHING = Contents.nothing()
LIMITS = Limits(read=10_000, checked=100, bytes_read=1 << 30)


def rules(**changes):
    values = {
        "domain_key": DomainKey("mood", "posts"),
        "split": "pool",
        "text": "text",
        "image": None,
        "key": None,
        "label": "label",
        "ratings": None,
        "kind": task_kind("classification", ("bad", "good")),
        "knows_answers": False,
        "max_image_pixels": 10_000,
        "max_text_chars": 1000,
        "are_images": False,
    }
    return Rules(**{**values, **changes})


def listed(source, of):
    return list_files([str(source)], of.suffixes, exclude="/nowhere")


def look(source, of=None, test=NOTHING, limits=None):
    """Inspect all rows of a source, or a sample; returns what was found and the problems."""
    of = of or rules()
    listing, problems = listed(source, of), []
    files = listing.files[str(source)]
    plan = some(files, of.are_images, limits) if limits else everything(files, of.are_images)
    reader = Reader(Storage("/nowhere"), "", common_folder(listing.files), of)
    return inspect(reader, plan, test, lambda rows: None, problems.append), problems


def write_rows(path, texts, labels=()):
    rows = [{"text": text} for text in texts]
    for row, label in zip(rows, labels, strict=False):
        row["label"] = label
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_rows_labels_duplicates_and_bad_rows_are_counted(tmp_path):
    texts = ["a b", "a b", "A, b!", "c", "", "d"]
    source = write_rows(tmp_path / "x.jsonl", texts, ["good", "bad", None, "bad", None, "nice"])
    found, problems = look(source)
    assert (found.rows, found.checked, found.usable, found.is_complete) == (6, 6, 4, True)
    assert (found.duplicates, found.conflicts, found.near_duplicates) == (1, 1, 1)
    assert found.labels == {"good": 1, "bad": 1}
    assert found.unlabeled == 2
    assert found.unknown_labels == {"'nice'": 1}
    assert found.reasons == {"blank text": 1}
    assert found.examples == {"blank text": (f"{source} row 5: blank text",)}
    assert found.bad_share == pytest.approx(1 / 6)
    assert not problems


def test_the_pool_is_compared_with_the_test_split(tmp_path):
    of = rules(split="test")
    test, _ = look(write_rows(tmp_path / "t.jsonl", ["x y", "z"], ["good", "bad"]), of)
    pool, _ = look(write_rows(tmp_path / "p.jsonl", ["x y", "X-Y", "w"]), test=test.contents)
    assert (pool.usable, pool.leaks, pool.near_leaks) == (2, 1, 1)


def test_lengths_name_the_longest_text(tmp_path):
    source = write_rows(tmp_path / "x.jsonl", ["a", "abcde", "abc"])
    lengths = look(source)[0].lengths
    assert (lengths.shortest, lengths.median, lengths.longest) == (1, 3, 5)
    assert lengths.example == f"{source} row 2"


def test_a_file_without_the_column_does_not_hide_the_others(tmp_path):
    (tmp_path / "a.csv").write_text("body\nx\n")
    (tmp_path / "b.csv").write_text("text\ny\n")
    found, problems = look(tmp_path, rules(label=None))
    assert found.usable == 1
    assert len(problems) == 1
    assert re.search(r"a\.csv has no column 'text'; it has body", problems[0])


def test_keys_that_are_repeated_are_bad_rows(tmp_path):
    source = tmp_path / "x.csv"
    source.write_text("id,text\n1,a\n1,b\n2,c\n")
    found, _ = look(source, rules(key="id", label=None))
    assert (found.checked, found.usable, found.reasons) == (3, 2, {"repeated key": 1})


def test_a_sample_has_the_shares_of_the_whole(tmp_path):
    rng = np.random.default_rng(0)
    texts = [f"text {i}" for i in range(2000)]
    texts += [f"text {i}" for i in range(400)] + [f"TEXT {i}!" for i in range(400, 800)]
    source = write_rows(tmp_path / "x.jsonl", rng.permutation(texts).tolist())
    whole, _ = look(source)
    sample, _ = look(source, limits=Limits(10_000, 700, 1 << 30))
    assert 500 < sample.checked < 900 < sample.read == whole.read == 2800
    assert not sample.is_complete
    for name in ("duplicates", "near_duplicates"):
        share = getattr(sample, name) / sample.checked
        assert share == pytest.approx(getattr(whole, name) / whole.checked, abs=0.03)


def test_a_sample_ends_where_its_limits_are(tmp_path):
    source = write_rows(tmp_path / "x.jsonl", [f"text {i}" for i in range(5000)])
    found, _ = look(source, limits=Limits(1000, 1000, 1 << 30))
    assert (found.read, found.is_complete) == (1000, False)
    assert 4000 < found.rows < 6000
    assert look(source, limits=Limits(10_000, 10_000, 3000))[0].read < 500


def test_the_rows_of_all_kinds_of_sources_are_estimated(tmp_path):
    rows = [{"text": f"text {i:04d}"} for i in range(3000)]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet", row_group_size=500)
    write_rows(tmp_path / "b.jsonl", [row["text"] for row in rows])
    (tmp_path / "c.csv").write_text("text\n" + "".join(f"{row['text']}\n" for row in rows))
    files = listed(tmp_path, rules()).files[str(tmp_path)]
    assert [expected_rows([file], False) for file in files] == pytest.approx([3000] * 3, rel=0.01)
    assert expected_rows(files, False) == pytest.approx(9000, rel=0.01)
    photos = [SourceFile(f"{i}.png", 10, 0) for i in range(7)]
    assert expected_rows([*photos, SourceFile("more.zip", 500_000, 0)], True) == 17
    assert expected_rows([SourceFile(str(tmp_path / "gone.csv"), 10, 0)], False) == 1


def test_of_many_files_some_are_opened_to_estimate_their_rows(tmp_path, monkeypatch):
    monkeypatch.setattr("umc_ray.ingest.sampling.OPENED", 2)
    for i in range(6):
        write_rows(tmp_path / f"{i}.jsonl", [f"text {i:04d}" for i in range(500)])
    files = listed(tmp_path, rules()).files[str(tmp_path)]
    for file in files[1::3]:
        os.unlink(file.uri)
    assert expected_rows(files, False) == pytest.approx(3000, rel=0.01)


def test_a_sample_has_the_rows_to_read_for_its_progress(tmp_path):
    write_rows(tmp_path / "x.jsonl", [f"text {i:04d}" for i in range(3000)])
    files = listed(tmp_path, rules()).files[str(tmp_path)]
    plan = some(files, False, Limits(1000, 100, 1 << 30))
    assert (plan.read, plan.rows) == (1000, pytest.approx(3000, rel=0.01))


def test_large_pieces_get_what_small_ones_leave(tmp_path):
    for name, rows in (("a", 10), ("b", 3000), ("c", 3000)):
        write_rows(tmp_path / f"{name}.jsonl", [f"text {i:04d}" for i in range(rows)])
    files = listed(tmp_path, rules()).files[str(tmp_path)]
    portions = some(files, False, Limits(1010, 100, 1 << 30)).portions
    assert [portion.rows for portion in portions] == [None, 500, 500]


def test_specimens_are_a_bounded_sample_without_duplicates(tmp_path):
    texts = [f"text {i}" for i in range(SPECIMENS + 500)]
    found, _ = look(write_rows(tmp_path / "x.jsonl", texts + texts))
    assert len({each.text for each in found.specimens}) == len(found.specimens) == SPECIMENS
    assert len({*texts[:1000]} & {each.text for each in found.specimens}) > 700


def test_a_file_that_breaks_off_is_always_told(tmp_path):
    source = write_rows(tmp_path / "x.jsonl", ["a", "b"])
    broken = tmp_path / "y.jsonl.gz"
    broken.write_bytes(b"\x1f\x8b\x08\x00 this is no gzip")
    plan = Sampling((Portion(WorkItem((str(source),))), Portion(WorkItem((str(broken),)))), 9, 9, 9)
    reader = Reader(Storage("/nowhere"), "", str(tmp_path), rules())
    found = inspect(reader, plan, NOTHING, lambda rows: None, lambda problem: None)
    assert found.reasons == {"unreadable file": 1}
    assert found.broken_share == 0.5


def test_images_are_counted_by_form_and_kept_to_be_shown(tmp_path):
    gradient = np.arange(256, dtype=np.uint8).reshape(16, 16)
    for name, image in (
        ("good/1.png", Image.fromarray(gradient)),
        ("good/2.png", Image.fromarray(np.stack([gradient, gradient.T, gradient], axis=2))),
        ("bad/3.png", Image.new("L", (8, 8), 7)),
        ("4.png", Image.fromarray(gradient.astype(np.uint16) * 16)),
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(saved(image, "PNG"))
    of = rules(text=None, image="file", label="folder", are_images=True)
    found, _ = look(tmp_path, of, limits=LIMITS)
    assert found.forms.modes == {"L": 1, "RGB": 1, "I;16": 1}
    assert found.forms.sizes == {(16, 16): 3}
    assert found.reasons == {"nothing to see": 1}
    assert (found.labels, found.unlabeled, len(found.specimens)) == ({"good": 2}, 1, 3)
    assert found.lengths is None
    assert [note.what for note in found.notes] == ["12-bit integers: 0..4095 scaled to 0..255"]


def test_encodings_are_told(tmp_path):
    for name, encoding in (("a", "utf-8"), ("b", "utf-16"), ("c", "cp1252")):
        (tmp_path / f"{name}.csv").write_text("text\nä, ö\n", encoding=encoding)
    encodings = {"utf-8": 1, "utf-16": 1, "not utf-8 but perhaps cp1252": 1}
    assert look(tmp_path, rules(label=None))[0].encodings == encodings


def test_the_rows_of_arrow_files_are_counted(tmp_path):
    table = pa.table({"text": [f"text {i}" for i in range(50)]})
    for name, new in (("a", pa.ipc.new_file), ("b", pa.ipc.new_stream)):
        with new(tmp_path / f"{name}.arrow", table.schema) as writer:
            writer.write_table(table, max_chunksize=20)
    files = listed(tmp_path, rules()).files[str(tmp_path)]
    assert everything(files, False).rows == 100


def test_letters_leave_out_what_does_not_matter():
    assert letters(" It's 3, or FOUR! ") == b"its3orfour"
    assert letters("?!") == b"?!"
    assert letters("_É, 3!") == "é3".encode()
    assert letters("cafe\u0301") == letters("Caf\u00e9")
