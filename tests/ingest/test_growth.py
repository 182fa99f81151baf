"""Sources that grew, changed or lost something between two starts of a campaign."""

import os
import shutil
from contextlib import suppress

import pytest

from tests.ingest.test_ingest import DOMAIN, Dying, Killed, backwards, campaign, contents
from umc_ray.config.campaign import CampaignConfig
from umc_ray.errors import DataError
from umc_ray.ingest import ingest as ingest_module
from umc_ray.ingest import stage as staging
from umc_ray.ingest.changes import files_read, shared_files
from umc_ray.ingest.forgotten import remember_forgotten
from umc_ray.ingest.ingest import JOINED, ingest
from umc_ray.ingest.manifest import load_manifest
from umc_ray.ingest.notes import Note
from umc_ray.records import DomainKey
from umc_ray.storage import Storage


@pytest.fixture
def data(tmp_path, monkeypatch):
    monkeypatch.setattr(ingest_module, "stream", backwards)
    (tmp_path / "data").mkdir()
    return tmp_path / "data"


def write(path, *texts, label=None):
    rows = [f'{{"text": "{text}", "label": "{label or "a"}"}}\n' for text in texts]
    path.write_text("".join(rows))


def start(data, keep=False, source="data/*.jsonl", split="pool", **columns):
    domain = {"source": f"{data.parent}/{source}", "text": "text", **columns}
    limits = {"changed_sources": "keep"} if keep else {}
    config = campaign(domain, backend="sheet", labels=("a", "b"), **limits)
    return ingest(config, DOMAIN, split, Storage(f"{data.parent}/run"))


def texts(data, manifest):
    storage = Storage(f"{data.parent}/run")
    return [storage.read_table(part.key("pool"))["text"].to_pylist() for part in manifest.parts]


def test_sources_that_did_not_change_are_not_read_again(data):
    write(data / "a.jsonl", "one", "two")
    first = start(data)
    assert start(data) == first
    assert first.generation == 0


def test_new_files_and_appended_rows_become_new_parts(data):
    write(data / "a.jsonl", "one", "two")
    first = start(data)
    write(data / "a.jsonl", "one", "two", "three")
    write(data / "b.jsonl", "four", "two", "four", "five")
    grown = start(data)
    assert texts(data, grown) == [["one", "two"], ["three", "four", "five"]]
    assert grown.parts[:1] == first.parts
    assert (grown.rows, grown.duplicates, grown.leaks, grown.bad) == (5, 2, 0, 0)
    assert grown.notes == (Note(JOINED, 3),)
    write(data / "c.jsonl", "six")
    again = start(data)
    assert texts(data, again)[2:] == [["six"]]
    assert (again.generation, again.notes) == (2, (Note(JOINED, 4),))
    assert start(data) == again


def test_a_pool_that_grew_has_the_fingerprint_of_one_that_was_read_at_once(data, tmp_path):
    write(data / "a.jsonl", "one", "two")
    start(data)
    write(data / "b.jsonl", "three")
    grown = start(data)
    Storage(f"{tmp_path}/run").delete("")
    assert start(data).fingerprint == grown.fingerprint


def test_a_file_that_was_only_touched_changes_nothing(data):
    write(data / "a.jsonl", "one", "two")
    first = start(data)
    os.utime(data / "a.jsonl", ns=(1, 1))
    touched = start(data)
    assert (touched.parts, touched.rows, touched.notes) == (first.parts, 2, ())


def test_rows_that_were_bad_before_count_once(data):
    write(data / "a.jsonl", *(f"text {i}" for i in range(60)), "")
    assert start(data).bad == 1
    write(data / "a.jsonl", *(f"text {i}" for i in range(60)), "", *map(str, range(40)), " ")
    grown = start(data)
    assert (grown.rows, grown.bad, grown.reasons) == (100, 2, {"blank text": 2})


def test_too_many_bad_new_rows_stop_the_run_and_leave_the_pool(data):
    write(data / "a.jsonl", "one", "two")
    first = start(data)
    write(data / "b.jsonl", "three", *[""] * 51)
    with pytest.raises(DataError, match=r"51 of 52 rows .*max_bad_share"):
        start(data)
    (data / "b.jsonl").unlink()
    assert start(data) == first


@pytest.mark.parametrize(
    ("rows", "label", "said"),
    [
        (["one", "2"], None, "1 sample with another content or label than when they were read"),
        (["one", "two"], "b", "2 samples with another content or label"),
        (["one"], None, r"1 sample gone \(a.jsonl#2\)"),
        (["new", "one", "two"], None, "2 samples with another content"),  # every name has moved
    ],
)
def test_changed_rows_stop_the_run_or_are_ignored(data, caplog, rows, label, said):
    write(data / "a.jsonl", "one", "two")
    write(data / "b.jsonl", "three")
    first = start(data, label="label")
    write(data / "a.jsonl", *rows, label=label)
    with pytest.raises(DataError, match=rf"{said}.* Files: .*a.jsonl.*changed_sources: keep"):
        start(data, label="label")
    kept = start(data, keep=True, label="label")
    assert (kept.parts, kept.rows) == (first.parts, 3)
    assert "going on with what was read" in caplog.text
    assert start(data, label="label") == kept  # said once


def test_a_vanished_file_stops_the_run_or_is_ignored(data):
    write(data / "a.jsonl", "one")
    write(data / "b.jsonl", "two")
    first = start(data)
    (data / "b.jsonl").unlink()
    with pytest.raises(DataError, match=r"1 sample gone .b.jsonl#1.\. Files: .*b.jsonl\. Put"):
        start(data)
    write(data / "c.jsonl", "three")
    kept = start(data, keep=True)
    assert kept.parts[:1] == first.parts
    assert texts(data, kept) == [["one", "two"], ["three"]]


def test_sources_that_are_gone_altogether_stop_the_run_or_are_ignored(data):
    write(data / "a.jsonl", "one")
    first = start(data)
    (data / "a.jsonl").unlink()
    with pytest.raises(DataError, match=r"matches no file .*changed_sources: keep"):
        start(data)
    assert start(data, keep=True).parts == first.parts


def test_sources_that_moved_are_the_same_and_can_grow(data, tmp_path):
    write(data / "a.jsonl", "one")
    write(data / "b.jsonl", "two")
    first = start(data)
    data.rename(tmp_path / "elsewhere")
    assert start(data, source="elsewhere/*.jsonl") == first
    write(tmp_path / "elsewhere/b.jsonl", "two", "three")
    grown = start(data, source="elsewhere/*.jsonl")
    assert texts(data, grown) == [["one", "two"], ["three"]]


def test_a_second_source_joins_and_another_one_is_not_ignored(data, tmp_path):
    write(data / "a.jsonl", "one")
    write(tmp_path / "more.jsonl", "two")
    start(data, source="data/a.jsonl")
    config = campaign(
        {"source": [f"{data}/a.jsonl", f"{tmp_path}/more.jsonl"], "text": "text"}, backend="sheet"
    )
    grown = ingest(config, DOMAIN, "pool", Storage(f"{tmp_path}/run"))
    assert texts(data, grown) == [["one"], ["two"]]
    assert set(grown.sources) == {f"{data}/a.jsonl", f"{tmp_path}/more.jsonl"}
    write(tmp_path / "other.jsonl", "three", "four")
    with pytest.raises(DataError, match=r"2 samples gone"):
        start(data, source="other.jsonl")


def test_a_test_split_stays_as_it_was(data, tmp_path):
    write(data / "a.jsonl", "one", "in the test")
    write(tmp_path / "test.jsonl", "in the test", "tested")
    split = {"test": f"{tmp_path}/test.jsonl", "label": "label"}
    first = start(data, **split)
    assert (first.rows, first.leaks) == (1, 1)
    write(tmp_path / "test.jsonl", "in the test", "tested", "more")
    with pytest.raises(DataError, match="1 new sample in a test split, which stays as it is"):
        start(data, **split)
    write(data / "b.jsonl", "tested", "three")
    grown = start(data, keep=True, **split)
    assert (texts(data, grown)[1:], grown.leaks) == ([["three"]], 2)
    assert start(data, split="test", **split).rows == 2


def test_new_images_of_a_folder_join(data, tmp_path):
    from PIL import Image

    def paint(name, color):
        (data / name).parent.mkdir(exist_ok=True)
        image = Image.new("RGB", (4, 4), color)
        image.putpixel((0, 0), (9, 9, 9))
        image.save(data / name)

    def begin():
        config = campaign({"source": str(data)}, backend="sheet")
        return ingest(config, DOMAIN, "pool", Storage(f"{tmp_path}/run"))

    paint("a/1.png", "red")
    begin()
    paint("a/2.png", "blue")
    paint("b/1.png", "red")
    grown = begin()
    keys = [
        Storage(f"{tmp_path}/run").read_table(p.key("pool"))["key"].to_pylist() for p in grown.parts
    ]
    assert keys == [["a/1.png"], ["a/2.png"]]
    assert grown.duplicates == 1


def test_files_that_two_domains_were_read_from_are_found_in_the_run_directory(data):
    write(data / "a.jsonl", "one")
    write(data / "b.jsonl", "two")
    start(data)
    read = files_read(Storage(f"{data.parent}/run"), "pool", DOMAIN)
    assert read == [f"{data}/a.jsonl", f"{data}/b.jsonl"]
    config = campaign({"source": f"{data}/*.jsonl", "text": "text"}, backend="sheet")
    domain, again, more = config.domains()[DOMAIN], DomainKey("task", "x"), DomainKey("more", "x")
    files = {DOMAIN: read, again: [read[1]], more: read}
    (line,) = shared_files(dict.fromkeys(files, domain), files)
    assert line.startswith(f"task/domain and task/x both read {data}/b.jsonl: each sample")


def test_a_forgotten_sample_may_leave_its_source(data):
    write(data / "a.jsonl", "one", "two")
    first = start(data)
    sample_id = Storage(f"{data.parent}/run").read_table(first.parts[0].key("pool"))["sample_id"][1]
    remember_forgotten(Storage(f"{data.parent}/run"), DOMAIN, [sample_id.as_py()])
    write(data / "a.jsonl", "one")
    write(data / "b.jsonl", "three")
    assert texts(data, start(data)) == [["one", "two"], ["three"]]
    write(data / "a.jsonl", "one", "other")  # its name is another's now: it does not come back
    assert start(data).rows == 3


def test_growing_that_is_killed_at_any_write_resumes_to_the_same_result(
    data, tmp_path, monkeypatch
):
    monkeypatch.setattr(staging, "CHUNK_ROWS", 2)
    write(data / "a.jsonl", "one", "two", "", "three")
    domain = {"source": f"{data}/*.jsonl", "text": "text", "label": "label"}
    config = campaign(domain, backend="sheet", labels=("a", "b"), rows_per_part=2)
    ingest(config, DOMAIN, "pool", Storage(f"{tmp_path}/first"))
    write(data / "a.jsonl", "one", "two", "", "three", "four", "")
    write(data / "b.jsonl", "five", "two", "six", "seven")

    def begun(name):
        shutil.copytree(tmp_path / "first", tmp_path / name)
        return str(tmp_path / name)

    counting = Dying(begun("whole"), last=10_000)
    manifest = ingest(config, DOMAIN, "pool", counting)
    assert (manifest.rows, manifest.duplicates, manifest.bad) == (7, 1, 2)
    expected = contents(counting)
    assert len(counting.written) > 10
    for last in range(len(counting.written)):
        storage = Storage(begun(f"killed-{last}"))
        with pytest.raises(Killed):
            ingest(config, DOMAIN, "pool", Dying(storage.root, last))
        ingest(config, DOMAIN, "pool", storage)
        assert contents(storage) == expected, f"killed before {counting.written[last]}"


def test_what_a_killed_growth_left_is_not_taken_for_what_the_sources_hold_now(data, tmp_path):
    write(data / "a.jsonl", "one")
    storage = Storage(f"{data.parent}/run")
    start(data)
    write(data / "b.jsonl", "two")
    config = campaign({"source": f"{data}/*.jsonl", "text": "text"}, backend="sheet")
    for last in range(30):
        write(data / "b.jsonl", f"text {last}")
        with suppress(Killed):
            ingest(config, DOMAIN, "pool", Dying(storage.root, last))
        if is_grown := len(texts(data, load_manifest(storage, DOMAIN, "pool"))) > 1:
            break
    assert is_grown
    assert texts(data, start(data)) == [["one"], [f"text {last}"]]


def test_a_few_bad_new_rows_do_not_stop_a_campaign(data):
    write(data / "a.jsonl", "one", "two")
    start(data)
    write(data / "b.jsonl", "three", "", " ")
    grown = start(data)
    assert (grown.rows, grown.bad) == (3, 2)


def test_rows_of_a_pool_never_count_in_a_test_that_comes_later(data, tmp_path, caplog):
    write(data / "a.jsonl", "one", "two", "in both")
    start(data, label="label")
    write(tmp_path / "test.jsonl", "two", "tested", "in both")
    split = {"test": f"{tmp_path}/test.jsonl", "label": "label"}
    found = start(data, split="test", **split)
    assert (texts(data, found), found.leaks) == ([["tested"]], 2)
    assert "2 rows are in a pool of the task already and do not count" in caplog.text
    assert start(data, split="test", **split) == found
    assert start(data, **split).rows == 3


def test_a_later_test_may_share_samples_with_an_earlier_one(data, tmp_path):
    write(data / "a.jsonl", "one", "tested")
    write(tmp_path / "test.jsonl", "tested", "more")
    config = campaign(
        {
            "source": f"{data}/a.jsonl",
            "text": "text",
            "label": "label",
            "test": f"{tmp_path}/test.jsonl",
        },
        backend="sheet",
        labels=("a", "b"),
    ).model_dump()
    config["tasks"]["task"]["domains"]["later"] = config["tasks"]["task"]["domains"][DOMAIN.domain]
    both = CampaignConfig.model_validate(config)
    storage = Storage(f"{tmp_path}/run")
    first = start(data, test=f"{tmp_path}/test.jsonl", label="label")
    assert (first.rows, first.leaks) == (1, 1)
    later = ingest(both, DomainKey(DOMAIN.task, "later"), "test", storage)
    assert (later.rows, later.leaks) == (2, 0)
