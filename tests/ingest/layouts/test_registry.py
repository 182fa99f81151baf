import json

import PIL.Image
import pytest
import yaml

from tests.ingest.layouts.reading import about, write
from tests.ingest.test_ingest import backwards, campaign, pool_of, quarantine_of
from umc_ray import cli
from umc_ray.config.campaign import CampaignConfig
from umc_ray.config.domain import DomainConfig
from umc_ray.config.formats import FILES, FORMATS
from umc_ray.config.loading import load_campaign
from umc_ray.errors import ConfigError, DataError
from umc_ray.ingest import ingest as ingest_module
from umc_ray.ingest.ingest import ingest
from umc_ray.ingest.layouts.layout import Asked
from umc_ray.ingest.layouts.registry import LAYOUTS, labels_of, list_split, with_layouts
from umc_ray.ingest.validate import rules_of
from umc_ray.records import DomainKey
from umc_ray.storage import Storage

DOMAIN = DomainKey("task", "domain")


def test_each_format_has_its_layout():
    assert {*LAYOUTS} == {*FORMATS} - {FILES}


def test_a_source_that_could_be_several_is_an_error_that_names_them(tmp_path):
    write(tmp_path / "a.txt", "__label__sport A goal\n")
    write(tmp_path / "b.jsonl", '{"text": "a", "_input_hash": 1, "_task_hash": 2}\n')
    with pytest.raises(DataError) as error:
        about(tmp_path)
    assert "could be fasttext (__label__ in a.txt) or prodigy (_task_hash in b.jsonl)" in str(
        error.value
    )
    assert about(tmp_path, format="prodigy") == "prodigy: all files"


def found_by(domain, encoder, folder):
    task = {"kind": "classification", "labels": ["a", "b"], "encoder": encoder}
    config = CampaignConfig.model_validate(
        {
            "name": "test",
            "budget": {"labels": 10, "per_round": 5},
            "tasks": {"task": {**task, "domains": {"domain": domain}}},
        }
    )
    return with_layouts(rules_of(config, DOMAIN, "pool"), [str(folder)]).layouts


PIXELS, WORDS = {"kind": "pixels"}, {"kind": "static_text", "path": "none"}


def test_plain_files_are_not_given_up_for_others_beside_them(tmp_path):
    document = '{"images": [{"file_name": "1.png"}], "annotations": [], "categories": []}'
    for split in ("train", "test"):
        write(tmp_path / "images" / split / "_annotations.coco.json", document)
        write(tmp_path / "images" / split / "1.png", b"")
    images = tmp_path / "images"
    assert about(images) == "coco: split train of train, test"
    assert found_by({"source": str(images), "label": "folder"}, PIXELS, images) == ()
    column = {"source": str(images), "image": "image"}
    assert [layout.name for layout in found_by(column, PIXELS, images)] == ["coco"]
    texts = tmp_path / "texts"
    write(texts / "train.txt", "__label__a text\n")
    domain = {"source": str(texts), "text": "text"}
    assert [layout.name for layout in found_by(domain, WORDS, texts)] == ["fasttext"]
    write(texts / "rows.csv", "text\na\n")
    assert found_by(domain, WORDS, texts) == ()


def test_a_format_with_other_samples_than_the_domain_is_an_error(tmp_path):
    write(tmp_path / "train" / "n01440764" / "1.JPEG", b"")
    assert found_by({"source": str(tmp_path), "text": "text"}, WORDS, tmp_path) == ()
    source = {"format": "imagenet", "path": str(tmp_path)}
    with pytest.raises(DataError, match=r"train has image files, the domain reads rows"):
        found_by({"source": source, "text": "text", "label": None}, WORDS, tmp_path)
    write(tmp_path / "a.txt", "__label__a text\n")
    source = {"format": "fasttext", "path": str(tmp_path)}
    domain = {"source": source, "text": None, "label": None}
    with pytest.raises(DataError, match=r"all files has rows, the domain reads image files"):
        found_by(domain, PIXELS, tmp_path)


def test_sources_of_several_layouts_and_plain_files_are_one_domain(tmp_path):
    write(tmp_path / "a" / "train.txt", "__label__a text\n")
    write(tmp_path / "a" / "test.txt", "__label__a text\n")
    write(tmp_path / "b.csv", "text\na\n")
    rules = rules_of(campaign({"source": "none", "text": "text"}, backend="web"), DOMAIN, "pool")
    sources = [str(tmp_path / "a"), str(tmp_path / "b.csv"), str(tmp_path / "a" / "train.txt")]
    listing = list_split(with_layouts(rules, sources), sources, exclude="/nowhere")
    assert {path: len(files) for path, files in listing.files.items()} == {
        f"{tmp_path}/a/train.txt": 1,
        f"{tmp_path}/b.csv": 1,
    }


def test_shards_of_several_splits_are_a_layout_and_others_are_plain_archives(tmp_path):
    for name in ("a-train-000000.tar", "a-train-000001.tar", "a-val-000000.tar"):
        write(tmp_path / name, b"")
    assert about(tmp_path, "test") == "webdataset: split validation of train, validation"
    write(tmp_path / "others.tar", b"")
    assert about(tmp_path) is None
    assert about(tmp_path, format="webdataset") == "webdataset: all files"


def domain(text):
    return DomainConfig.model_validate(yaml.safe_load(text))


def test_a_domain_has_the_columns_of_its_format_unless_it_names_its_own():
    found = domain("source: {format: squad, path: train-v2.0.json}")
    assert (found.texts, found.label, found.key) == (("question", "context"), "answers", "id")
    found = domain("{source: {format: glue, path: data/SST-2}, label: null}")
    assert (found.text, found.label) == ("sentence", None)
    found = domain("{source: {format: glue, task: qqp, path: x}, text: question1, ratings: r}")
    assert (found.text, found.columns, found.label) == ("question1", [], None)


def test_other_splits_are_in_the_same_place_and_format():
    found = domain(
        "{source: {format: glue, task: mnli, path: x}, test: {split: validation_matched},"
        " shifted: {genres: {split: validation_mismatched}}, target: y}"
    )
    test = found.published("test")
    assert (test.path, test.format, test.task, test.split) == (
        *("x", "glue", "mnli"),
        "validation_matched",
    )
    assert found.sources("target") == ["y"]
    assert found.published("target").format == "glue"


CAMPAIGN = """\
name: c
budget: {labels: 10, per_round: 5}
tasks:
  t:
    kind: classification
    labels: [a, b]
    encoder: {kind: static_text, path: p}
    domains:
      d:
        source: SOURCE
"""


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("{format: imagnet, path: x}", "source: no format 'imagnet'; known formats: argilla, "),
        ("{format: glue, task: sst, path: x}", "format glue has no task 'sst'; its tasks are cola"),
        ("{format: squad, task: sst, path: x}", "format squad has no task 'sst'; it has no tasks"),
        ("{format: glue, path: x}", "source of format glue needs task, such as cola, sst2"),
        ("{format: squad}", "source needs path: a file or folder"),
    ],
)
def test_mistakes_in_a_source_are_told_once_with_their_line(tmp_path, source, message):
    path = write(tmp_path / "campaign.yaml", CAMPAIGN.replace("SOURCE", source))
    with pytest.raises(ConfigError) as error:
        load_campaign(path)
    assert message in str(error.value)


def test_paths_of_a_source_are_relative_to_the_campaign_file(tmp_path):
    text = CAMPAIGN.replace("SOURCE", "{format: glue, path: SST-2}\n        test: {split: dev}")
    config = load_campaign(write(tmp_path / "campaign.yaml", text))
    key = DomainKey("t", "d")
    assert config.domain(key).sources("test") == [str(tmp_path / "SST-2")]


def test_labels_are_those_that_a_dataset_names_or_that_its_rows_have(tmp_path):
    write(tmp_path / "a.txt", "__label__sport __label__news A goal\n__label__film A scene\n")
    assert labels_of(str(tmp_path), Asked("pool")) == ["film", "news", "sport"]
    write(tmp_path / "SST-2" / "train.tsv", "sentence\tlabel\na\t1\n")
    assert labels_of(str(tmp_path / "SST-2"), Asked("pool")) == ["negative", "positive"]
    for synset in ("n01440764", "n02012849"):
        write(tmp_path / "i" / "train" / synset / "1.JPEG", b"")
    write(tmp_path / "i" / "synset_words.txt", "n01440764 tench, Tinca tinca\n")
    assert labels_of(str(tmp_path / "i"), Asked("pool")) == ["tench", "n02012849"]
    with pytest.raises(DataError, match=r"is not recognized as a published dataset"):
        labels_of(str(write(tmp_path / "b.csv", "text,label\n")), Asked("pool"))


def test_the_command_prints_labels_for_a_campaign_file(tmp_path, monkeypatch, capsys):
    write(tmp_path / "train.txt", "__label__yes A goal\n__label__no A scene\n")
    monkeypatch.setattr("sys.argv", ["umc", "labels", "of", str(tmp_path)])
    with pytest.raises(SystemExit):
        cli.main()
    assert yaml.safe_load(capsys.readouterr().out) == {"labels": ["no", "yes"]}


@pytest.fixture
def without_ray(monkeypatch):
    monkeypatch.setattr(ingest_module, "stream", backwards)


@pytest.mark.usefixtures("without_ray")
def test_a_published_dataset_is_ingested_with_notes_and_quarantine(tmp_path):
    train = 'sentence\tlabel\r\na "film\t1\r\nbad\t0\r\nbroken\r\n'
    write(tmp_path / "SST-2" / "train.tsv", train)
    write(tmp_path / "SST-2" / "dev.tsv", 'sentence\tlabel\na "film\t1\n')
    source = {"format": "glue", "path": str(tmp_path / "SST-2")}
    storage = Storage(str(tmp_path / "run"))
    labels = ("negative", "positive")
    config = campaign(
        {"source": source, "test": {"split": "dev"}, "text": "sentence"}, labels=labels
    )
    manifest = ingest(config, DOMAIN, "pool", storage)
    assert [(row["key"], row["text"]) for row in pool_of(storage, manifest)] == [
        ("train.tsv#2", "bad")
    ]
    assert manifest.leaks == 1
    assert [row["reason"] for row in quarantine_of(storage)] == [
        "broken TSV: 1 fields, the header has 2"
    ]
    assert {str(note) for note in manifest.notes} == {
        "1 x files of the layout glue: sst2, split train of train, validation",
        "1 x files with Windows line ends",
    }


@pytest.mark.usefixtures("without_ray")
def test_questions_of_one_id_are_bad_rows(tmp_path):
    def question(name):
        answer = {"text": "Houston", "answer_start": 3}
        return {"id": "q", "question": name, "answers": [answer]}

    paragraph = {"context": "In Houston.", "qas": [question("Where?"), question("Why?")]}
    document = {"version": "1.1", "data": [{"title": "t", "paragraphs": [paragraph]}]}
    path = write(tmp_path / "train-v1.1.json", json.dumps(document))
    source = {"format": "squad", "path": str(path)}
    config = campaign({"source": source, "columns": ["question"], "label": None}, backend="web")
    storage = Storage(str(tmp_path / "run"))
    manifest = ingest(config, DOMAIN, "pool", storage)
    assert [row["key"] for row in pool_of(storage, manifest)] == ["q"]
    assert [row["reason"] for row in quarantine_of(storage)] == ["repeated key: q"]


@pytest.mark.usefixtures("without_ray")
def test_an_image_that_is_missing_costs_one_row(tmp_path):
    names = ("1.png", "2.png", "3.png")
    document = {
        "images": [{"id": i, "file_name": name} for i, name in enumerate(names)],
        "annotations": [{"image_id": i, "category_id": 1} for i in range(3)],
        "categories": [{"id": 1, "name": "yes"}],
    }
    path = write(tmp_path / "train.json", json.dumps(document))
    for level, name in enumerate(names[:2]):
        picture = PIL.Image.new("L", (2, 2), 100 * level)
        picture.putpixel((0, 0), 255)
        picture.save(tmp_path / name)
    config = campaign({"source": {"format": "coco", "path": str(path)}})
    storage = Storage(str(tmp_path / "run"))
    manifest = ingest(config, DOMAIN, "pool", storage)
    assert [row["key"] for row in pool_of(storage, manifest)] == ["1.png", "2.png"]
    assert manifest.labeled == 2
    (bad,) = quarantine_of(storage)
    assert bad["reason"].startswith("unreadable image: ")
