import logging
import re
from html.parser import HTMLParser
from pathlib import Path

import pyarrow.fs as pafs
import pytest

from tests.finished import ATTACK, build_run
from umc_ray.campaign.history import History
from umc_ray.campaign.run import Run
from umc_ray.config.annotation import AnnotationConfig
from umc_ray.errors import ConfigError, StoreError
from umc_ray.release.export import write_release
from umc_ray.report import report
from umc_ray.report.coverage import diversity, task_samples
from umc_ray.report.gallery import TEXT_CHARS, thumbnail
from umc_ray.report.objective import objective_summary
from umc_ray.report.report import REPORT, write_report
from umc_ray.report.stage_times import events, stage_times

VOID = {"meta", "img", "br", "link", "input", "hr", "wbr", "source"}


class Page(HTMLParser):
    """The content of a page: elements with their attributes, texts, rows of tables."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements, self.open, self.texts, self.rows = [], [], [], []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)
        if {"td", "th"} & set(self.open):
            self.rows[-1][-1] += data

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]

    def text(self):
        """Return all text on one line."""
        return " ".join("".join(self.texts).split())

    def row(self, name):
        return next(row for row in self.rows if row and row[0] == name)


def read(run: Run) -> Page:
    return Page(run.storage.read_bytes(REPORT).decode())


@pytest.fixture(scope="module")
def page(finished, tmp_path_factory):
    control = build_run(str(tmp_path_factory.mktemp("control")), "random", skill=0.6)
    path = write_report(finished, [control])
    assert path == f"{finished.storage.root}/report/index.html"
    found = read(finished)
    assert found.open == []  # every element is closed, in order
    return found


def test_the_page_has_no_external_resources_and_no_script(page):
    links = [
        (name, value)
        for _, attributes in page.elements
        for name, value in attributes.items()
        if name in ("src", "href", "xlink:href", "srcset", "action", "data", "poster")
    ]
    assert links
    assert [link for link in links if not link[1].startswith(("#", "data:image/png;base64,"))] == []
    assert not {"script", "link", "iframe", "object", "base"} & {tag for tag, _ in page.elements}
    handlers = [a for _, attributes in page.elements for a in attributes if a.startswith("on")]
    assert handlers == []
    styles = [a.get("style") or "" for _, a in page.elements]
    styles += [text for text in page.texts if "{" in text and "color-scheme" in text]
    assert not any("url(h" in style or "@import" in style for style in styles)


def test_untrusted_texts_are_escaped_and_truncated(page):
    shown = [text for text in page.texts if ATTACK in text]
    assert any(text.startswith(f"{ATTACK} number") for text in shown)  # a sample
    assert any(text.endswith(ATTACK) for text in shown)  # why a row is in quarantine
    assert all(len(text) <= TEXT_CHARS for text in shown if "number" in text)


def test_passwords_stay_in_the_campaign_file(page):
    config = next(text for text in page.texts if "per_round" in text)
    assert "postgresql://***@db/labels" in config
    assert not any("secret" in text for text in page.texts)


def test_the_numbers_are_those_of_the_metrics(finished, page):
    metrics = finished.storage.read_json("rounds/0003/metrics.json")
    assert metrics["labels"] == 17
    for name, found in metrics["domains"].items():
        row = next(row for row in page.rows if row and row[0] == name and len(row) == 9)
        assert row[1:4] == ["12", str(found["labels"]), f"{found['cost']:g}"]
        assert row[4].split()[0] == f"{found['test']['utility']['value']:.1%}"
        assert row[5:7] == [str(found["test"]["n"]), f"{found['test']['ece']:.3f}"]
        assert row[7].split()[0] == f"{found['audit']['utility']['value']:.1%}"
        assert row[8] == str(found["audit"]["n"])
    total = page.row("total, macro accuracy")
    assert total[1:5] == ["36", "17", "25.5", f"{metrics['test_utility']:.1%}"]


def test_measured_costs_are_shown_beside_configured_ones(page):
    (row,) = [row for row in page.rows if len(row) == 5 and row[0] == "mood/shop"]
    assert row[1:] == ["10", "4.2", "1.5", "1.25"]


def test_the_work_of_each_person_is_shown_unless_answers_were_known(tmp_path):
    run = build_run(str(tmp_path), rounds=1)
    write_report(run)
    assert "Annotators" not in Page(run.storage.read_bytes(REPORT).decode()).texts
    by_people = AnnotationConfig(backend="web")
    run = Run(run.config.model_copy(update={"annotation": by_people}))
    write_report(run)
    page = Page(run.storage.read_bytes(REPORT).decode())
    assert page.row(ATTACK) == [ATTACK, "9", "1", "4.2", "81% of 8", "13.5"]
    assert ["total", "9", "1", "", "", "13.5"] in page.rows


def test_accuracy_is_shown_by_each_objective(finished, page):
    metrics = finished.storage.read_json("rounds/0003/metrics.json")
    accuracies = [found["test"]["utility"]["value"] for found in metrics["domains"].values()]
    assert "The allocation objective is macro: all domains count equally." in page.text()
    for name, labels in (("demo", "17"), ("random", "17")):
        row = page.row(name)
        assert row[1:3] == ["macro", labels]
        assert row[6] == "mood/shop"  # of domains that are as good, the first
    ours = [cell.split()[0] for cell in page.row("demo")[3:6]]
    assert ours == [f"{sum(accuracies) / 3:.1%}"] * 2 + [f"{min(accuracies):.1%}"]


def test_pooled_accuracy_weighs_domains_by_their_pools(tmp_path):
    run = build_run(str(tmp_path), rounds=1, tasks=("mood",))
    key = "rounds/0001/metrics.json"
    metrics = run.storage.read_json(key)
    metrics["domains"]["mood/shop"]["test"]["utility"]["value"] = 0.5
    metrics["domains"]["mood/posts"]["test"]["utility"]["value"] = 0.9
    run.storage.write_json(key, metrics)
    manifest = run.storage.read_json("pool/pool/mood/posts/manifest.json")
    parts = [["part-0", 6], ["part-1", 30]]  # 36 rows beside the 12 of shop
    run.storage.write_json("pool/pool/mood/posts/manifest.json", {**manifest, "parts": parts})
    found = objective_summary(History.of(Run(run.config)), ["mood/shop", "mood/posts"])
    assert found.pooled.value == pytest.approx((12 * 0.5 + 36 * 0.9) / 48)
    assert found.macro.value == pytest.approx(0.7)
    assert (found.worst.value, found.worst_domain, found.worst_labels) == (0.5, "mood/shop", 2)
    assert objective_summary(History.of(run), []) is None


def test_the_control_is_compared_at_the_same_number_of_labels(page):
    # After 6, 11 and 17 labels 5, 7 and 9 of 10 are right in each domain, against 4, 5 and 6.
    kind, labels, run, control, gap, saved = page.row("mean of 3 domains")[1:]
    assert (kind, labels, run, control) == ("test", "17", "90.0%", "60.0%")
    assert gap.startswith("+30.0 ")
    assert saved == "45%: 6 labels to hold 50.0%, the control 11"
    assert "This is a comparison of single runs" in page.texts


def test_several_controls_are_compared_over_seeds(tmp_path):
    run = build_run(str(tmp_path), tasks=("shapes",))
    controls = [
        build_run(str(tmp_path), f"random-{i}", skill=skill, tasks=("shapes",))
        for i, skill in enumerate((0.5, 0.7))
    ]
    write_report(run, controls)
    page = read(run)
    assert "Comparison with 2 controls" in page.texts
    assert "This is a comparison of one run" in page.texts
    assert page.row("shapes/scans")[3:5] == ["90.0%", "60.0%"]
    names = {row[0] for row in page.rows if row}
    assert {"demo", "random-0", "random-1"} <= names


def test_figures_and_images_have_alternatives_and_tables_have_headers(page):
    labels = [each["aria-label"] for each in page.all("svg")]
    assert len(labels) == 10
    assert all(each.get("alt") for each in page.all("img"))
    assert any("no errors" in label or "predicted as" in label for label in labels)
    assert any(label.startswith("map of mood: 24 samples of the pool") for label in labels)
    assert page.all("th") and all("scope" in each for each in page.all("th"))
    assert page.all("html") == [{"lang": "en"}]
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))


def test_the_diversity_of_labeled_samples_is_shown(finished, page):
    found = diversity("mood", task_samples(History.of(finished), "mood"))
    row = next(row for row in page.rows if row[0] == "mood" and len(row) == 7)
    assert row[1] == str(found.samples)
    assert row[2].startswith(f"{100 * found.labeled.coverage[0]:.1f}%")
    assert row[4].startswith(f"{found.labeled.vendi[0]:.1f}(")


def test_the_gallery_shows_predictions_and_labels(page):
    words = " ".join(" ".join(page.texts).split())
    assert "Predicted: bad (70.0%). Label: none" in words
    assert "Predicted: good (60.0%). Label: good (3 votes, 66.7% agreement) right" in words
    assert "Because it is hard." in words


def test_quarantine_is_counted_by_reason(page):
    assert page.row("no text")[1] == "3"
    assert ["mood/shop", "pool", "12", "3", "1", "2", "4"] in page.rows


def test_stages_are_added_up_over_rounds_and_domains(page):
    assert page.row("scores")[1:4] == ["3", "108", "3.8 s"]
    log = [
        {"stage": "ingest a/b", "seconds": 1.0, "rows": 5},
        {"stage": "ingest a/c", "seconds": 2.0, "rows": None},
        {"stage": "finished", "reason": "enough"},
    ]
    (stage,) = stage_times(log)
    assert (stage.name, stage.runs, stage.seconds, stage.rows) == ("ingest", 2, 3.0, 5)


def test_a_truncated_log_is_read_up_to_the_last_whole_line(finished):
    assert len(events(finished.storage)) == 3


def test_a_report_needs_neither_tests_nor_control_nor_a_second_round_or_task(tmp_path):
    run = build_run(str(tmp_path), rounds=1, tests=False, tasks=("shapes",))
    write_report(run)
    page = read(run)
    assert "No domain has a held-out test, so calibration and confusions are not measured." in (
        page.texts
    )
    assert page.row("shapes/scans")[4:] == ["–", "–", "–", "100.0% 20.7% to 100.0%", "1"]
    assert len(page.all("svg")) == 5


def test_a_report_requires_a_finished_round(tmp_path):
    run = build_run(str(tmp_path), rounds=0, tasks=("shapes",))
    with pytest.raises(StoreError, match=r"no round of .* is finished"):
        write_report(run)


def test_a_control_that_was_tested_on_other_samples_is_refused(finished, tmp_path):
    other = build_run(str(tmp_path), "other", rounds=1, tasks=("shapes",))
    key = "pool/test/shapes/scans/manifest.json"
    other.storage.write_json(key, {**other.storage.read_json(key), "fingerprint": "else"})
    with pytest.raises(ConfigError, match="shapes/scans has other samples in the control"):
        write_report(finished, [other])


def test_an_invalid_image_has_no_thumbnail():
    assert thumbnail(b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>") is None


def test_report_and_release_of_a_run_on_s3_are_written_to_s3():
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer("127.0.0.1", 0)
    server.start()
    host, port = server.get_host_and_port()
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
            patch.setenv("AWS_ACCESS_KEY_ID", "test")
            patch.setenv("AWS_SECRET_ACCESS_KEY", "test")
            patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
            filesystem = pafs.S3FileSystem(
                endpoint_override=f"http://{host}:{port}", allow_bucket_creation=True
            )
            filesystem.create_dir("umc-release")
            run = build_run("s3://umc-release/runs", rounds=1, tasks=("shapes",))
            assert write_report(run) == "s3://umc-release/runs/demo/report/index.html"
            assert "shapes/scans" in [row[0] for row in read(run).rows if row]
            assert write_release(run) == "s3://umc-release/runs/demo/release/v1"
            assert run.storage.read_table("release/v1/data/shapes/scans.parquet").num_rows == 2
            assert write_release(run).endswith("/v2")
    finally:
        server.stop()


@pytest.mark.parametrize(
    ("harmful", "text"),
    [
        (True, "shapes/scans: of 9 random samples of scans, a model taught by selected ones had"),
        (False, "In no domain were random samples significantly better than selected ones."),
    ],
)
def test_the_page_says_where_selection_did_not_pay(tmp_path, harmful, text):
    run = build_run(str(tmp_path), rounds=1, tasks=("shapes",))
    metrics = run.storage.read_json("rounds/0001/metrics.json")
    verdict = {"of": "scans", "n": 9, "selected": 1, "random": 9, "p": 0.004, "harmful": harmful}
    metrics["domains"]["shapes/scans"]["selection_test"] = verdict
    run.storage.write_json("rounds/0001/metrics.json", metrics)
    write_report(run)
    sentences = [each for each in read(run).texts if text.lower() in each.lower()]
    assert len(sentences) == 1
    assert ("its batches are drawn at random until that changes" in sentences[0]) == harmful


def test_without_a_selection_test_nothing_is_said_about_it(tmp_path):
    run = build_run(str(tmp_path), rounds=1, tasks=("shapes",))
    write_report(run)
    assert not any("random samples" in text for text in read(run).texts)


def test_a_run_directory_of_another_version_is_refused(tmp_path):
    run = build_run(str(tmp_path), rounds=1, tasks=("shapes",))
    run.storage.write_json("campaign.json", {"tasks.shapes.encoder": "x"})
    with pytest.raises(StoreError, match=r"files of format 1, .* release it with umc_ray 0\.1"):
        write_report(run)


def test_of_many_domains_the_worst_get_plots_of_their_own(finished, monkeypatch):
    monkeypatch.setattr(report, "PLOTTED_DOMAINS", 1)
    page = Path(write_report(finished)).read_text()
    tests = {
        str(key): each.test.utility.value for key, each in History.of(finished).domains.items()
    }
    worst = min(tests, key=tests.get)
    assert re.findall(r"confusion matrix of ([\w/]+)", page) == [worst]
    assert f"{len(tests) - 1} more have none" in page


def test_in_plots_of_all_domains_the_smaller_ones_are_one(monkeypatch):
    monkeypatch.setattr(report, "NAMED_DOMAINS", 2)
    rows = [("a", [1, 5]), ("b", [0, 1]), ("c", [9, 0]), ("d", [2, 0])]
    assert report._largest(rows) == [("a", [1, 5]), ("c", [9, 0]), ("2 others", [2, 1])]
