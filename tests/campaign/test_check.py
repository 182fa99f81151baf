import copy
import io
import re

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from tests.ingest.pictures import saved
from tests.networks import write_text_network
from tests.tiny import campaign, texts, write_campaign, write_csv, write_jsonl
from umc_ray import cli
from umc_ray.campaign.check import check_campaign
from umc_ray.config.loading import load_campaign
from umc_ray.errors import StoreError
from umc_ray.passes.encoder_trial import count_near
from umc_ray.storage import Storage


@pytest.fixture
def values(tmp_path):
    return campaign(tmp_path)


def check(folder, values, reads_all=True):
    return check_campaign(load_campaign(write_campaign(folder, values)), reads_all)


def umc_check(monkeypatch, capsys, *arguments):
    """Run the command in this process; returns its exit code and what it printed."""
    monkeypatch.setattr("sys.argv", ["umc", "check", *map(str, arguments)])
    try:
        cli.main()
        code = 0
    except SystemExit as end:
        code = end.code
    return code, capsys.readouterr().out


def test_a_campaign_in_order_has_no_problems_and_stores_nothing(tmp_path, values):
    before = sorted(tmp_path.rglob("*"))
    found = check(tmp_path, values)
    assert not found.problems
    assert [(str(each.domain_key), each.split) for each in found.splits] == [
        ("mood/reviews", "pool"),
        ("mood/reviews", "test"),
        ("mood/posts", "pool"),
    ]
    assert [each.inspection.usable for each in found.splits] == [160, 40, 120]
    (encoder,) = found.encoders
    assert (encoder.rows, encoder.trial.samples, encoder.trial.dimension) == (320, 320, 8)
    assert {*tmp_path.rglob("*")} - {*before} == {tmp_path / "campaign.yaml"}


def test_all_problems_are_found_at_once(tmp_path, values, monkeypatch, capsys):
    task = values["tasks"]["mood"]
    posts = task["domains"]["posts"]
    rows = texts(60, seed=5)
    rows[:6] = [{**row, "text": ""} for row in rows[:6]]
    rows[6:9] = texts(3, seed=2)  # the test split of the reviews has them
    write_csv(tmp_path / "posts.csv", rows)
    write_jsonl(tmp_path / "other.jsonl", [{**row, "label": "fine"} for row in texts(50, seed=6)])
    task["domains"] = {
        "reviews": {**task["domains"]["reviews"], "source": ["reviews.jsonl", "gone.jsonl"]},
        "posts": {**posts, "test": "reviews_test.jsonl"},
        "other": {**posts, "source": "other.jsonl"},
        "columns": {**posts, "text": "body"},
    }
    task["encoder"]["path"] = "nowhere"
    code, output = umc_check(monkeypatch, capsys, write_campaign(tmp_path, values), "--all")
    assert code == 1
    for problem in (
        f"mood/reviews pool: {tmp_path}/gone.jsonl does not exist",
        "mood/posts pool: 10.0% of the rows are bad, ingest.max_bad_share allows 5.0%: "
        "6 x blank text",
        "mood/other pool: no usable row among 50: 50 x unknown label",
        f"mood/columns pool: {tmp_path}/posts.csv has no column 'body'",
        "encoder mood/static_text: ",
        "tiny cannot run: 5 problems, listed above",
    ):
        assert problem in output
    assert (
        "mood/posts pool: in a test split of the task, too, so left out of the pool: 3 rows"
        in output
    )
    assert f"{tmp_path}/posts.csv row 1: blank text" in output
    assert "mood/reviews pool: 160 rows, all checked" in output


def test_labels_that_nobody_reads_are_notes(tmp_path, values):
    rows = [{**row, "label": "nice"} for row in texts(30, seed=6)]
    write_csv(tmp_path / "posts.csv", rows + texts(30, seed=7))
    values["annotation"] = {"backend": "sheet"}
    found = check(tmp_path, values)
    assert not found.problems
    assert [each for each in found.notes if "nice" in each] == [
        "mood/posts pool: label 'nice' is none of the campaign's: 30 rows count as unlabeled"
    ]


def test_what_concerns_all_domains_is_checked(tmp_path, values):
    (tmp_path / "runs").write_text("a file where a folder should be")
    values["annotation"]["guidelines"] = "gone.md"
    values["budget"] = {"labels": 1000, "per_round": 50}
    found = check(tmp_path, values, reads_all=False)
    assert len(found.problems) == 2
    assert found.problems[0].startswith("storage: ")
    assert found.problems[1] == f"annotation.guidelines: {tmp_path}/gone.md does not exist"
    assert found.notes == (
        "budget: 1,000 labels, people can be asked about 280 samples: the campaign ends when none "
        "is left",
    )


def test_a_pool_without_rows_would_stop_the_run(tmp_path, values):
    (tmp_path / "posts.csv").write_text("text,label\n")
    assert check(tmp_path, values).problems == (
        "mood/posts pool: no usable row among 0: the sources are empty",
    )


def test_columns_that_do_not_name_groups_are_a_problem(tmp_path, values):
    rows = [{**row, "age": i % 41, "sex": "fm"[i % 2]} for i, row in enumerate(texts(120, 3))]
    write_jsonl(tmp_path / "posts.jsonl", rows)
    posts = values["tasks"]["mood"]["domains"]["posts"]
    posts |= {"source": "posts.jsonl", "groups": ["sex", "age"]}
    (problem,) = check(tmp_path, values).problems
    assert problem.startswith("mood/posts pool: column 'age' has 41 values, such as 0, 1, 10, and")


def test_a_target_set_is_read_without_its_answers(tmp_path, values):
    write_csv(tmp_path / "wanted.csv", [{"text": f"row {i}", "label": "odd"} for i in range(9)])
    values["tasks"]["mood"]["domains"]["posts"]["target"] = "wanted.csv"
    found = check(tmp_path, values)
    assert not found.problems
    split = found.splits[-1]
    assert (split.split, split.inspection.usable, split.inspection.unlabeled) == ("target", 9, 9)
    (tmp_path / "wanted.csv").unlink()
    (problem,) = check(tmp_path, values).problems
    assert problem == f"mood/posts target: {tmp_path}/wanted.csv does not exist"


def test_what_shifts_and_targets_share_with_the_pool_is_said(tmp_path, values, monkeypatch, capsys):
    reviews = values["tasks"]["mood"]["domains"]["reviews"]
    reviews |= {"shifted": {"night": "night.jsonl", "known": "known.jsonl"}, "target": "t.jsonl"}
    bad = {"text": " ", "label": "good"}
    write_jsonl(tmp_path / "night.jsonl", [*texts(40, seed=9), *texts(2, seed=3), bad])
    write_jsonl(tmp_path / "known.jsonl", texts(3, seed=1))
    write_jsonl(tmp_path / "t.jsonl", texts(5, seed=1))
    code, output = umc_check(monkeypatch, capsys, write_campaign(tmp_path, values), "--all")
    assert code == 1
    assert "mood/reviews shifted night: 43 of 43 rows drawn, 40 samples to measure on" in output
    assert "bad rows    1, such as" in output
    found = check(tmp_path, values)
    assert found.problems == (
        "mood/reviews shifted known: all 3 samples are in a pool of the task, too",
    )
    assert {
        "mood/reviews shifted night: in a pool of the task, too, so left out where models are "
        "judged: 2 rows",
        "mood/reviews target: in the pool, too: 5 rows; they say little of what it lacks",
    } <= {*found.notes}


def test_shifts_and_targets_need_the_columns_of_groups(tmp_path, values):
    reviews = values["tasks"]["mood"]["domains"]["reviews"]
    for name in ("reviews", "reviews_test"):
        rows = [{**row, "sex": "f"} for row in texts(60, seed=len(name))]
        write_jsonl(tmp_path / f"{name}.jsonl", rows)
    write_csv(tmp_path / "other.csv", texts(30, seed=9))
    reviews |= {"shifted": {"x": "other.csv"}, "target": "other.csv", "groups": ["sex"]}
    problems = check(tmp_path, values).problems
    assert [each.partition(": ")[0] for each in problems] == [
        "mood/reviews target",
        "mood/reviews shifted x",
    ]
    assert all("has no column 'sex'" in each for each in problems)


def test_a_replay_knows_nothing_of_what_generators_make(tmp_path, values):
    values["refine"] = {"generators": {"writer": {"kind": "language_model", "path": "model"}}}
    said = [each for each in check(tmp_path, values).notes if "a replay knows nothing" in each]
    assert len(said) == 1
    values["annotation"] = {"backend": "sheet"}
    assert "replay" not in str(check(tmp_path, values).notes)


def test_a_function_for_unsafe_contents_that_is_not_there_is_a_problem(tmp_path, values):
    values["refine"] = {"unsafe": "no_such_rules:check"}
    (problem,) = check(tmp_path, values).problems
    assert problem.startswith("refine.unsafe: no_such_rules cannot be imported: ModuleNotFound")


@pytest.mark.parametrize("reads_all", [True, False])
def test_files_of_generators_are_read_as_a_run_reads_them(tmp_path, values, reads_all):
    made = {
        name: {"kind": "files", "path": f"{name}.csv", "domain": "mood/posts", "label": "label"}
        for name in ("gone", "columns", "poor", "fair")
    }
    values["refine"] = {"generators": made}
    (tmp_path / "columns.csv").write_text("text,for\nfine,good\n")
    write_csv(tmp_path / "poor.csv", [{"text": "fine", "label": "odd"}] * 9)
    write_csv(tmp_path / "fair.csv", [*texts(30, seed=4), {"text": "", "label": "good"}])
    found = check(tmp_path, values, reads_all)
    path = f"{tmp_path}/fair.csv"
    assert [each.split(": ", 1)[0] for each in found.problems] == [
        "refine.generators.gone",
        "refine.generators.columns",
        "refine.generators.poor",
    ]
    for problem, said in zip(
        found.problems,
        ("gone.csv does not exist", "has no column 'label'", "9 of 9 rows of"),
        strict=True,
    ):
        assert said in problem
    assert (
        f"refine.generators.fair: 1 of 31 rows of {path} cannot be used, such as {path} row 31: "
        "blank text" in found.notes
    )
    assert not (tmp_path / "runs").exists()


def test_what_is_labeled_already_is_not_to_be_asked_about(tmp_path, values):
    rows = [{**row, "label": row["label"] if i < 50 else ""} for i, row in enumerate(texts(60, 7))]
    del values["tasks"]["mood"]["domains"]["reviews"]
    write_csv(tmp_path / "posts.csv", rows)
    for backend, count in (("sheet", 10), ("replay", 50)):
        values["annotation"] = {"backend": backend}
        assert check(tmp_path, values).notes[-1] == (
            f"budget: 90 labels, people can be asked about {count} samples: the campaign ends when "
            "none is left"
        )


def test_labels_that_all_are_unknown_are_said_loudly(tmp_path, values):
    write_csv(tmp_path / "posts.csv", [{**row, "label": "nice"} for row in texts(60, seed=7)])
    values["annotation"] = {"backend": "sheet"}
    assert any(
        "no row has a label of the campaign" in note for note in check(tmp_path, values).notes
    )


@pytest.fixture
def images(tmp_path, values):
    """A campaign on images: small ones, large ones, wide ones, and a broken one."""
    rng = np.random.default_rng(0)
    for i in range(40):
        size = (16, 16, 3) if i % 2 else (300, 200)
        pixels = rng.integers(0, 256, size, dtype=np.uint8)
        path = tmp_path / "photos" / ("circle", "square")[i % 2] / f"{i:02d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(saved(Image.fromarray(pixels), "PNG"))
    (tmp_path / "photos/square/99.png").write_bytes(b"no image")
    values = copy.deepcopy(values)
    values["tasks"] = {
        "shapes": {
            "kind": "classification",
            "labels": ["circle", "square"],
            "encoder": {"kind": "gradients"},
            "domains": {"photos": {"source": "photos", "label": "folder"}},
        }
    }
    return write_campaign(tmp_path, values)


def test_images_come_with_a_contact_sheet(tmp_path, images, monkeypatch, capsys):
    code, output = umc_check(monkeypatch, capsys, images)
    assert code == 0
    sheet = tmp_path / "campaign-images.png"
    assert f"what the encoders see: {sheet}" in output
    for line in ("sizes", "300", "circle 20, square 20", "1 x undecodable image"):
        assert line in output
    assert "in color: the task's encoders see gray" in output
    picture = Image.open(io.BytesIO(sheet.read_bytes()))
    assert picture.width > 1000
    assert len(picture.convert("L").getcolors()) > 100


def test_the_contact_sheet_goes_where_it_is_told(tmp_path, images, monkeypatch, capsys):
    code, _ = umc_check(monkeypatch, capsys, images, "--contact-sheet", tmp_path / "sheet.png")
    assert code == 0
    assert (tmp_path / "sheet.png").exists()
    assert not (tmp_path / "campaign-images.png").exists()
    missing = tmp_path / "gone/sheet.png"
    code, output = umc_check(monkeypatch, capsys, images, "--contact-sheet", missing)
    assert code == 1
    assert f"cannot write {missing}" in output


def test_similar_embeddings_are_counted_once_each():
    embeddings_ND = np.array([[1, 0], [2, 0.01], [0, 1], [0, 0], [np.nan, 0]], np.float16)
    assert count_near(embeddings_ND, 0.98) == 1
    assert count_near(np.empty((0, 2), np.float16), 0.98) == 0


def test_a_task_with_one_model_is_named(tmp_path, values):
    assert not any("one model" in note for note in check(tmp_path, values).notes)
    del values["tasks"]["mood"]["domains"]["reviews"]
    assert any(note.startswith("task mood: one model") for note in check(tmp_path, values).notes)


def test_specialists_that_train_a_network_are_tried(tmp_path, values):
    values["tasks"]["mood"] |= {
        "encoder": {"kind": "transformers", "path": str(write_text_network(tmp_path / "network"))},
        "specialists": {"head": {}, "tuned": {"kind": "top_layers", "layers": 3}},
    }
    assert not check(tmp_path, values).problems
    values["tasks"]["mood"]["specialists"]["tuned"]["layers"] = 4
    (problem,) = check(tmp_path, values).problems
    assert problem == "specialist mood/tuned: layers: 4, but the network has 3"


def test_a_storage_that_cannot_be_written_is_a_problem(tmp_path, values, monkeypatch):
    def refuse(self, key, data):
        raise StoreError(f"cannot write {key} in {self.root}: Permission denied")

    monkeypatch.setattr(Storage, "write_bytes", refuse)
    (problem,) = check(tmp_path, values).problems
    assert re.fullmatch(
        rf"storage: cannot write umc-check-\w+/empty in {tmp_path}: Permission denied", problem
    )


def test_a_test_split_is_compared_with_all_pools_of_its_task(tmp_path, values):
    write_csv(tmp_path / "posts.csv", [*texts(5, seed=2), *texts(60, seed=7)])  # 5 of the test
    found = check(tmp_path, values)
    leaks = {(each.domain_key.domain, each.split): each.inspection.leaks for each in found.splits}
    assert leaks == {("reviews", "pool"): 0, ("reviews", "test"): 0, ("posts", "pool"): 5}


def test_a_file_of_two_domains_is_named_unless_they_read_other_columns(tmp_path, values):
    domains = values["tasks"]["mood"]["domains"]
    domains["again"] = {**domains["posts"], "source": ["*.csv"]}
    said = (
        f"sources: mood/posts and mood/again both read {tmp_path}/posts.csv: each sample is asked "
        "about twice; leave the file out of one of them"
    )
    assert said in check(tmp_path, values).notes
    domains["again"]["text"] = "label"
    assert said not in check(tmp_path, values).notes


def test_a_file_that_is_no_text_is_a_problem_that_says_what_it_is(tmp_path, values):
    pq.write_table(pa.table({"text": ["a"], "label": ["good"]}), tmp_path / "posts.csv")
    found = check(tmp_path, values)
    assert found.problems == (
        "mood/posts pool: no usable row among 1: 1 x unreadable file; the first: "
        f"{tmp_path}/posts.csv row 1: unreadable file: it is Parquet: rename it to .parquet",
    )
    assert (
        "mood/posts pool: 1 x files are no text but Parquet: rename it to .parquet" in found.notes
    )
