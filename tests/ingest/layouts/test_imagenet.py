import json

import PIL.Image
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.ingest.layouts.reading import about, write
from umc_ray.config.campaign import CampaignConfig
from umc_ray.errors import DataError
from umc_ray.ingest.layouts.layout import Asked
from umc_ray.ingest.layouts.registry import list_split, recognize, with_layouts
from umc_ray.ingest.sources import common_folder
from umc_ray.ingest.stage import Reader, split_work
from umc_ray.ingest.validate import Rejected, check, rules_of
from umc_ray.records import DomainKey
from umc_ray.storage import Storage

WORDS = """\
n01440764 tench, Tinca tinca
n01443537 goldfish, Carassius auratus
n02012849 crane
n03126707 crane
"""
KIT = "ILSVRC2012_devkit_t12/data"
TRUTH = "ILSVRC2012_validation_ground_truth.txt"


def image(path, level):
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = PIL.Image.new("RGB", (4, 4), (level, 0, 0))
    picture.putpixel((0, 0), (0, 255, level))
    picture.save(path)


def imagenet(root, below=""):
    """Write two images for each of two synsets, and two of the validation split."""
    home = root / below
    for number, synset in enumerate(("n01440764", "n03126707")):
        for i in range(2):
            image(home / "train" / synset / f"{synset}_{i}.JPEG", 40 * number + 10 * i)
    for i in (1, 2):
        image(home / "val" / f"ILSVRC2012_val_{i:08d}.JPEG", 200 + 10 * i)
    write(root / "LOC_synset_mapping.txt", WORDS)
    return root


def solve(root):
    lines = "ImageId,PredictionString\r\n"
    lines += "ILSVRC2012_val_00000002,n01440764 1 1 9 9 n01440764 2 2 8 8 \r\n"
    lines += "ILSVRC2012_val_00000001,n03126707 85 1 499 272 \r\n"
    write(root / "LOC_val_solution.csv", lines)


def rows(root, labels, use="pool", **source):
    """Read a split as ingest does: its keys with labels, or the reason why there is no row."""
    source = {"format": "imagenet", "path": str(root), **source}
    domain = {"source": source, **({"test": source} if use == "test" else {})}
    task = {"kind": "classification", "labels": list(labels), "encoder": {"kind": "gradients"}}
    config = CampaignConfig.model_validate(
        {
            "name": "test",
            "budget": {"labels": 10, "per_round": 5},
            "annotation": {"backend": "replay"},
            "tasks": {"task": {**task, "domains": {"domain": domain}}},
        }
    )
    rules = with_layouts(rules_of(config, DomainKey("task", "domain"), use), [str(root)])
    listing = list_split(rules, [str(root)], exclude="/nowhere")
    reader = Reader(Storage("/nowhere"), "", common_folder(listing.files), rules)
    works = split_work([file.uri for file in listing.all], rules.are_images)
    found = [check(rules, each) for work in works for each in reader.find(work, listing.notes)]
    read = {
        row.row if isinstance(row, Rejected) else row.key.rsplit("/", 1)[-1]: (
            str(row.reason) if isinstance(row, Rejected) else row.label
        )
        for row in found
    }
    return read, listing.notes


TENCH, CRANE = "tench, Tinca tinca", "crane (n03126707)"


@pytest.mark.parametrize("below", ["", "ILSVRC/Data/CLS-LOC"])
@pytest.mark.parametrize(
    "labels", [("n01440764", "n03126707"), (TENCH, CRANE), ("tench", "crane (n03126707)")]
)
def test_labels_may_be_synsets_their_words_or_the_first_of_these(tmp_path, below, labels):
    found, notes = rows(imagenet(tmp_path, below), labels)
    assert found == {
        **{f"n01440764_{i}.JPEG": labels[0] for i in range(2)},
        **{f"n03126707_{i}.JPEG": labels[1] for i in range(2)},
    }
    assert notes == {
        "files of the layout imagenet: split train of train, validation": 4,
        "synsets of LOC_synset_mapping.txt without a folder of images": 2,
    }


def test_the_validation_split_has_its_classes_in_a_file_beside_it(tmp_path):
    solve(imagenet(tmp_path))
    found, _ = rows(tmp_path, ("tench", CRANE), use="test")
    assert found == {
        "ILSVRC2012_val_00000001.JPEG": CRANE,
        "ILSVRC2012_val_00000002.JPEG": "tench",
    }


def test_class_numbers_of_the_kit_need_the_file_with_their_synsets(tmp_path):
    write(imagenet(tmp_path) / KIT / TRUTH, "2\n1\n")
    with pytest.raises(DataError, match=r"class numbers: .* map_clsloc.txt, which is missing"):
        about(tmp_path, "test")
    write(tmp_path / KIT / "map_clsloc.txt", "n03126707 1 crane\nn01440764 2 tench\n")
    found, _ = rows(tmp_path, ("n01440764", "n03126707"), use="test")
    assert list(found.values()) == ["n01440764", "n03126707"]
    write(tmp_path / KIT / TRUTH, "2\n7\n")
    with pytest.raises(DataError, match=r"truth.txt line 2: no class '7' in .*map_clsloc.txt"):
        about(tmp_path, "test")


def test_a_validation_split_of_which_nothing_says_the_classes_is_no_test_set(tmp_path):
    imagenet(tmp_path)
    with pytest.raises(DataError, match=r"nothing says what they are: add LOC_val_solution.csv"):
        about(tmp_path, "test")
    found, _ = rows(tmp_path, ("tench", CRANE), split="validation")
    assert list(found.values()) == [None, None]


def test_a_validation_split_sorted_into_folders_needs_no_file(tmp_path):
    imagenet(tmp_path)
    for i in (1, 2):
        (tmp_path / "val" / f"ILSVRC2012_val_{i:08d}.JPEG").unlink()
    image(tmp_path / "val" / "n01440764" / "a.JPEG", 250)
    assert rows(tmp_path, ("tench", CRANE), use="test")[0] == {"a.JPEG": "tench"}


def test_a_synset_without_words_is_an_unknown_label_where_labels_are_words(tmp_path):
    image(imagenet(tmp_path) / "train" / "n09999999" / "x.JPEG", 7)
    found, _ = rows(tmp_path, ("tench", CRANE))
    assert [each for each in found.values() if str(each).startswith("unknown label")]
    assert "n09999999" in str(found)


@pytest.mark.parametrize("line", ["n01440764", "tench, Tinca tinca"])
def test_a_broken_line_of_the_mapping_is_named(tmp_path, line):
    write(imagenet(tmp_path) / "LOC_synset_mapping.txt", f"{WORDS}{line}\n")
    with pytest.raises(DataError, match=r"mapping.txt line 5: not a synset with words"):
        about(tmp_path)


def test_the_folder_train_alone_is_enough(tmp_path):
    imagenet(tmp_path)
    found, _ = rows(tmp_path / "train", ("tench", CRANE))
    assert sorted(found.values()) == [CRANE, CRANE, "tench", "tench"]
    with pytest.raises(DataError, match=r"is not ImageNet: it has no train/ or val/"):
        about(tmp_path / "train" / "n01440764", format="imagenet")


def test_it_is_recognized_by_folders_of_synsets_or_by_its_files(tmp_path):
    assert about(imagenet(tmp_path)) == "imagenet: split train of train, validation"
    image(tmp_path / "other" / "train" / "cat" / "1.png", 1)
    assert about(tmp_path / "other") is None


def test_parquet_files_have_the_names_of_classes_in_their_schema(tmp_path):
    image(tmp_path / "x.png", 9)
    content = (tmp_path / "x.png").read_bytes()
    features = {"label": {"names": ["tench, Tinca tinca", "goldfish"], "_type": "ClassLabel"}}
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    pictures = pa.array([{"bytes": content, "path": "x.png"}], kind)
    table = pa.table({"image": pictures, "label": pa.array([0])}).replace_schema_metadata(metadata)
    (tmp_path / "data").mkdir()
    pq.write_table(table, tmp_path / "data" / "train-00000-of-00001.parquet")
    found, _ = rows(tmp_path, ("tench, Tinca tinca", "goldfish"))
    assert found == {"train-00000-of-00001.parquet#1": "tench, Tinca tinca"}


def test_two_thousand_classes_are_listed_by_their_folders(tmp_path):
    synsets = [f"n{i:08d}" for i in range(2000)]
    for synset in synsets:
        write(tmp_path / "train" / synset / "1.JPEG", b"x")
    write(tmp_path / "synset_words.txt", "".join(f"{s} name of {s}\n" for s in synsets))
    layout = recognize(str(tmp_path), Asked("pool"))
    rules = rules_of_nothing(layout)
    listing = list_split(rules, [str(tmp_path)], exclude="/nowhere")
    files = [file.uri for file in listing.all]
    assert [layout.classes(uri)[-1] for uri in files] == synsets
    assert layout.classes(files[7]) == ("name of n00000007", "n00000007")
    assert len(split_work(files, are_images=True)) == 1


def rules_of_nothing(layout):
    """Return rules that have a layout."""
    task = {"kind": "classification", "labels": ["a", "b"], "encoder": {"kind": "gradients"}}
    config = CampaignConfig.model_validate(
        {
            "name": "test",
            "budget": {"labels": 10, "per_round": 5},
            "tasks": {"task": {**task, "domains": {"domain": {"source": layout.root}}}},
        }
    )
    return with_layouts(rules_of(config, DomainKey("task", "domain"), "pool"), [layout.root])
