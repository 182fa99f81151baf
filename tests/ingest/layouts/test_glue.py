from collections import Counter

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.ingest.layouts.reading import about, picked, read, write
from umc_ray.errors import DataError

FILES = {
    "CoLA": {
        "train": "gj04\t1\t\tOur friends won't buy this.\ngj04\t0\t*\tThem was \"here.\n",
        "dev": "gj04\t1\t\tThe sailors rode the breeze.\n",
        "test": "index\tsentence\n0\tBill whistled past the house.\n",
    },
    "SST-2": {
        "train": 'sentence\tlabel\nhide new secretions \t0\nthat loves its " characters \t1\n',
        "dev": "sentence\tlabel\nit 's a charming journey . \t1\n",
        "test": "index\tsentence\n0\tuneasy mishmash\n",
    },
    "MRPC": {
        "train": "Quality\t#1 ID\t#2 ID\t#1 String\t#2 String\n"
        '1\t702\t703\tHe said "no.\tNo, he said.\n',
        "test": "index\t#1 ID\t#2 ID\t#1 String\t#2 String\n0\t1\t2\tA.\tB.\n",
    },
    "QQP": {
        "train": "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate\n"
        "133273\t213221\t213222\tHow is life?\tWhat is life?\t0\n"
        "402555\t536040\t536041\tHow\n",
        "test": "id\tquestion1\tquestion2\n0\tWould Trump?\tIs it?\n",
    },
    "STS-B": {
        "train": "index\tgenre\tfilename\tyear\told_index\tsource1\tsource2\t"
        "sentence1\tsentence2\tscore\n"
        "0\tmain-captions\tMSRvid\t2012test\t0001\tnone\tnone\tA plane.\tAn air plane.\t5.000\n",
        "test": "index\tgenre\tfilename\tyear\told_index\tsource1\tsource2\tsentence1\tsentence2\n"
        "0\tmain-captions\tMSRvid\t2012test\t0024\tnone\tnone\tA girl.\tA boy.\n",
    },
    "MNLI": {
        "train": "index\tpromptID\tpairID\tgenre\tsentence1_binary_parse\tsentence2_binary_parse\t"
        "sentence1_parse\tsentence2_parse\tsentence1\tsentence2\tlabel1\tgold_label\n"
        "0\t31193\t31193n\tgovernment\t( a )\t( b )\t(R a)\t(R b)\t"
        "Cream skims.\tIt has two.\tneutral\tneutral\n"
        "1\t31194\t31194n\ttravel\t( a )\t( b )\t(R a)\t(R b)\t"
        "You know.\tYou lose.\tneutral\t-\n",
    },
    "QNLI": {
        "train": "index\tquestion\tsentence\tlabel\n"
        "0\tWhen did it start?\tIt began.\tnot_entailment\n",
    },
    "RTE": {
        "train": "index\tsentence1\tsentence2\tlabel\n"
        "0\tNo weapons.\tWeapons found.\tnot_entailment\n",
    },
    "WNLI": {"train": "index\tsentence1\tsentence2\tlabel\n0\tI stuck a pin.\tThe pin.\t1\n"},
}
ROWS = {
    "CoLA": [("Our friends won't buy this.", "acceptable"), ('Them was "here.', "unacceptable")],
    "SST-2": [("hide new secretions ", "negative"), ('that loves its " characters ', "positive")],
    "MRPC": [('He said "no.', "No, he said.", "equivalent")],
    "QQP": [
        ("How is life?", "What is life?", "not_duplicate"),
        "broken TSV: 4 fields, the header has 6",
    ],
    "STS-B": [("A plane.", "An air plane.", 5.0)],
    "MNLI": [("Cream skims.", "It has two.", "neutral"), ("You know.", "You lose.", None)],
    "QNLI": [("When did it start?", "It began.", "not_entailment")],
    "RTE": [("No weapons.", "Weapons found.", "not_entailment")],
    "WNLI": [("I stuck a pin.", "The pin.", "entailment")],
}
COLUMNS = {
    **dict.fromkeys(("CoLA", "SST-2"), ("sentence", "label")),
    **dict.fromkeys(("MRPC", "STS-B", "RTE", "WNLI"), ("sentence1", "sentence2", "label")),
    "QQP": ("question1", "question2", "label"),
    "MNLI": ("premise", "hypothesis", "label"),
    "QNLI": ("question", "sentence", "label"),
}


def folder(tmp_path, name, files=None, place="data"):
    for split, text in (files or FILES[name]).items():
        write(tmp_path / place / f"{split}.tsv", text)
    return tmp_path / place


@pytest.mark.parametrize("name", FILES)
def test_each_task_is_recognized_by_its_header_and_has_the_columns_of_the_hub(tmp_path, name):
    place = folder(tmp_path, name)
    task = name.lower().replace("-", "")
    assert about(place).startswith(f"glue: {task}, split train of train")
    assert picked(read(place, *COLUMNS[name]), *COLUMNS[name]) == ROWS[name]


@pytest.mark.parametrize("first", ["gj04\t1\t?\tIt fell.", "gj04\t2\t\tIt fell."])
def test_a_first_row_that_is_odd_does_not_hide_cola(tmp_path, first):
    text = f"{first}\n{FILES['CoLA']['train']}"
    place = folder(tmp_path, "CoLA", {"train": text})
    assert about(place).startswith("glue: cola")
    assert picked(read(place, "sentence", "label"), "sentence", "label")[1:] == ROWS["CoLA"]


def test_a_tsv_file_keeps_the_columns_of_its_header(tmp_path):
    (row,) = read(folder(tmp_path, "MRPC"), "Quality", "#1 String")
    assert (row["Quality"], row["#1 ID"], row["idx"]) == ("1", "702", 0)


def test_test_splits_have_no_labels_and_cannot_measure_quality(tmp_path):
    place = folder(tmp_path, "SST-2")
    assert picked(read(place, "sentence", split="test"), "sentence", "label") == [
        ("uneasy mishmash", None)
    ]
    assert about(place, "test") == "glue: sst2, split validation of train, validation, test"
    with pytest.raises(DataError, match=r"labels of GLUE's test split .* one of train, validation"):
        about(place, "test", split="test")


def test_a_test_set_of_mnli_is_matched_unless_it_says_otherwise(tmp_path):
    text = FILES["MNLI"]["train"]
    files = {"train": text, "dev_matched": text, "dev_mismatched": text}
    place = folder(tmp_path, "MNLI", files)
    assert "split validation_matched of" in about(place, "test")
    assert "mismatched of" in about(place, "test", split="validation_mismatched")
    with pytest.raises(
        DataError, match=r"no split 'night'; its splits: train, validation_matched, "
    ):
        about(place, "test", split="night")


def test_windows_line_ends_and_missing_gold_labels_are_noted(tmp_path):
    notes = Counter()
    text = FILES["MNLI"]["train"].replace("\n", "\r\n")
    place = folder(tmp_path, "MNLI", {"train": "\ufeff" + text})
    assert picked(read(place, notes=notes), *COLUMNS["MNLI"]) == ROWS["MNLI"]
    assert notes == {
        "files with Windows line ends": 1,
        "rows without a gold label ('-'): read as unlabeled": 1,
    }


def test_the_corpus_of_paraphrases_is_read_as_its_publisher_packs_it(tmp_path):
    text = "\ufeff" + FILES["MRPC"]["train"].replace("\n", "\r\n")
    for split in ("train", "test"):
        write(tmp_path / f"msr_paraphrase_{split}.txt", text)
    assert about(tmp_path, "test") == "glue: mrpc, split test of train, test"
    assert picked(read(tmp_path, use="test"), *COLUMNS["MRPC"]) == ROWS["MRPC"]


def test_a_task_is_found_in_the_folder_of_all_or_by_the_name_of_its_folder(tmp_path):
    place = folder(tmp_path, "WNLI", place="glue/WNLI")
    assert picked(read(tmp_path / "glue", format="glue", task="wnli"), "label") == [("entailment",)]
    assert "glue: wnli" in about(place, format="glue")
    with pytest.raises(DataError, match=r"which task of GLUE is it"):
        about(tmp_path, format="glue")
    with pytest.raises(DataError, match=r"has no files of GLUE"):
        about(tmp_path, format="glue", task="rte")


def test_a_file_is_plain_unless_a_format_is_named(tmp_path):
    file = folder(tmp_path, "SST-2") / "dev.tsv"
    assert about(file) is None
    assert about(file, format="glue") == "glue: sst2"


def hub(tmp_path, name, labels, kind):
    table = pa.table({"sentence": ["a", "b"], "label": pa.array(labels, kind), "idx": [0, 1]})
    path = tmp_path / "sst2" / f"{name}-00000-of-00001.parquet"
    path.parent.mkdir(exist_ok=True)
    pq.write_table(table, path)
    return path.parent


def test_class_numbers_of_parquet_files_get_names_and_minus_one_is_none(tmp_path):
    place = hub(tmp_path, "train", [1, -1], pa.int64())
    rows = read(place, "sentence", "label", format="glue", class_column="label")
    assert picked(rows, "sentence", "label") == [("a", "positive"), ("b", None)]


def test_a_column_that_is_not_there_is_an_error_that_lists_the_others(tmp_path):
    with pytest.raises(DataError, match=r"train.tsv has no column 'text'; it has sentence, label"):
        read(folder(tmp_path, "SST-2"), "text")


def test_class_numbers_as_pandas_writes_them_are_read_and_a_score_that_is_none_stays(tmp_path):
    write(tmp_path / "SST-2" / "train.tsv", "sentence\tlabel\nfine\t1.0\nbad\t0.0\nnone\t-1.0\n")
    rows = read(tmp_path / "SST-2", "sentence", "label")
    assert picked(rows, "label") == [("positive",), ("negative",), (None,)]
    header, line = FILES["STS-B"]["train"].splitlines()
    scores = "".join(f"{line.rpartition(chr(9))[0]}\t{score}\n" for score in ("nan", "inf", "2.5"))
    write(tmp_path / "STS-B" / "train.tsv", f"{header}\n{scores}")
    found = picked(read(tmp_path / "STS-B", "sentence1", "label"), "label")
    assert found == [("nan",), ("inf",), (2.5,)]  # which a regression refuses, row by row


def test_the_matched_split_of_mnli_is_meant_where_none_of_the_two_is_named(tmp_path):
    for name in ("train", "dev_matched", "dev_mismatched"):
        write(tmp_path / "MNLI" / f"{name}.tsv", FILES["MNLI"]["train"])
    for split in ("dev", "validation", "val"):
        assert about(tmp_path / "MNLI", split=split).startswith(
            "glue: mnli, split validation_matched"
        )
