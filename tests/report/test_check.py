from tests.tiny import campaign, texts, write_campaign, write_csv
from umc_ray.campaign.check import check_campaign
from umc_ray.config.loading import load_campaign
from umc_ray.report.check import _duration, _size, check_lines


def lines_of(folder, values):
    config = load_campaign(write_campaign(folder, values))
    return list(check_lines(check_campaign(config, reads_all=True), config))


def test_each_split_is_a_block_of_lines(tmp_path):
    values = campaign(tmp_path)
    rows = texts(118, seed=3)
    write_csv(tmp_path / "posts.csv", [*rows, {**rows[0], "text": rows[0]["text"].upper()}])
    lines = lines_of(tmp_path, values)
    good = sum(row["label"] == "good" for row in rows)
    start = lines.index("mood/posts pool: 119 rows, all checked, in 1 file")
    same = int(rows[0]["label"] == "good")
    labels = {"good": good + same, "bad": 119 - good - same}
    ordered = sorted(labels.items(), key=lambda item: -item[1])
    assert lines[start + 1] == "  labels      " + ", ".join(f"{k} {v}" for k, v in ordered)
    assert lines[start + 2] == (
        "  duplicates  exact 0 (0.0%), but for case, punctuation and spaces 1 (0.8%), "
        "in a test split 0 (0.0%)"
    )
    assert lines[start + 3] == "  encodings   utf-8 1"
    assert lines[start + 5] == "  quarantine  none"


def test_a_split_says_what_it_was_recognized_as(tmp_path):
    values = campaign(tmp_path)
    lines = [f"__label__{row['label']} {row['text']}\n" for row in texts(60, seed=3)]
    (tmp_path / "posts").mkdir()
    (tmp_path / "posts" / "train.txt").write_text("".join(lines))
    posts = {"source": "posts", "text": "text", "label": "label"}
    values["tasks"]["mood"]["domains"] = {"posts": posts}
    found = lines_of(tmp_path, values)
    start = found.index("mood/posts pool: 60 rows, all checked, in 1 file")
    assert found[start + 1] == "  layout      fasttext: split train of train"


def test_several_labels_are_counted_one_by_one(tmp_path):
    values = campaign(tmp_path)
    task = values["tasks"]["mood"]
    task["kind"] = "multi_label"
    task["domains"] = {"posts": task["domains"]["posts"]}
    rows = [{"text": f"word{i}", "label": label} for i, label in enumerate(("good | bad", "bad"))]
    write_csv(tmp_path / "posts.csv", [*rows, {"text": "word9", "label": "(none)"}])
    assert "  labels      bad 2, good 1, (none) 1" in lines_of(tmp_path, values)


def test_answers_that_are_no_labels_are_counted_together(tmp_path):
    values = campaign(tmp_path)
    task = values["tasks"]["mood"]
    del task["labels"]
    task |= {"kind": "regression", "range": [0, 5]}
    task["domains"] = {"posts": {"source": "posts.csv", "text": "text", "label": "label"}}
    rows = [{"text": f"word{i}", "label": label} for i, label in enumerate(("1.5", "2", "2.0"))]
    write_csv(tmp_path / "posts.csv", [*rows, {"text": "word9", "label": ""}])
    found = lines_of(tmp_path, values)
    assert "  answers     3 known, 2 different, such as 1.5, 2; unlabeled 1" in found


def test_sizes_and_durations_are_rounded():
    assert [_size(each) for each in (7, 1500, 25e6, 3e12)] == ["7 B", "1.5 KB", "25 MB", "3.0 TB"]
    assert [_duration(each) for each in (0.1, 75, 600, 9000)] == ["1 s", "75 s", "10 min", "2.5 h"]
