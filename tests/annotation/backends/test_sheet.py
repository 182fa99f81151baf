import csv
import io
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest
from PIL import Image

from tests.ingest.pictures import saved
from umc_ray.annotation.backends.backend import collect_all
from umc_ray.annotation.backends.sheet import SheetBackend
from umc_ray.annotation.store import AnnotationStore, Payload, Question
from umc_ray.errors import AwaitingAnnotations, DataError, StoreError
from umc_ray.methods.text_pair import joined
from umc_ray.records import POOL, DomainKey, Made, Part
from umc_ray.storage import Storage
from umc_ray.tasks.classification import Classification
from umc_ray.tasks.extractive_qa import ExtractiveQA
from umc_ray.tasks.multi_label import MultiLabel
from umc_ray.tasks.regression import Regression
from umc_ray.tasks.span_answers import Span, answer_text

BIG = 2**62 + 1  # spreadsheet programs round numbers of more than 15 digits
PNG, TIFF = (saved(Image.new("L", (2, 2)), kind) for kind in ("PNG", "TIFF"))
TEXTS = {1: 'She said "no",\nthen left', BIG: "=HYPERLINK(1)", -3: "fine"}
KINDS = {"tone": Classification(("-1", "Good")), "digit": Classification(("0", "1"))}


@pytest.fixture
def store(sqlite_url, clock):
    with closing(AnnotationStore(sqlite_url, clock)) as store:
        yield store


@pytest.fixture
def backend(store, tmp_path):
    storage = Storage(str(tmp_path / "run"))
    mail, scans = (
        Part("pool", DomainKey("tone", "mail"), "a", 3),
        Part("pool", DomainKey("digit", "s"), "a", 1),
    )
    texts = [{"sample_id": i, "key": str(i), "text": text} for i, text in TEXTS.items()]
    storage.write_table(mail.key("pool"), pa.Table.from_pylist(texts, schema=POOL))
    images = [
        {"sample_id": i, "key": str(i), "image": image} for i, image in enumerate([PNG, TIFF], 1)
    ]
    storage.write_table(scans.key("pool"), pa.Table.from_pylist(images, schema=POOL))
    return SheetBackend(store, "camp", storage, [mail, scans], KINDS)


@pytest.fixture
def sheet(backend, tmp_path):
    """The sheet of round 1, asking for tone of three mails."""
    backend.submit([question(i) for i in TEXTS])
    assert backend.collect(1) == []
    return tmp_path / "run/rounds/0001/sheet.csv"


def question(sample_id, votes=1, **values):
    return Question("camp", 1, "tone", "mail", sample_id, votes, **values)


def rows_of(sheet: Path):
    return list(csv.DictReader(io.StringIO(sheet.read_text("utf-8-sig"), newline="")))


def save(sheet: Path, rows, **options):
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, rows[0], **options)
    writer.writeheader()
    writer.writerows(rows)
    sheet.write_bytes(text.getvalue().encode("utf-8-sig"))


def fill_in(sheet: Path, *labels, annotator="", **options):
    rows = rows_of(sheet)
    for row, label in zip(rows, labels, strict=False):
        row.update(label=label, annotator=annotator)
    save(sheet, rows, **options)


def test_a_synthetic_sample_may_be_rated(backend, store, tmp_path):
    made = Payload(predicted="Good", made=Made("writer", "Good"))
    backend.submit([question(1, payload=made), question(-3)])
    backend.collect(1)
    sheet = tmp_path / "run/rounds/0001/sheet.csv"
    rows = rows_of(sheet)
    assert [row["quality"] for row in rows] == ["", ""]
    rows[0] |= {"label": "Good", "quality": "2"}
    save(sheet, rows)
    backend.collect(1)
    rows[0]["quality"] = "4"
    save(sheet, rows)
    for _ in range(2):  # what was read is not recorded again
        backend.collect(1)
    assert [each.reason for each in store.events("rating", "camp")] == ["2", "4"]
    rows[1] |= {"label": "Good", "quality": "4"}
    save(sheet, rows)
    with pytest.raises(DataError, match=r"sheet.csv:4: quality is 1 or .* empty otherwise, found"):
        backend.collect(1)


def labels_of(answers):
    return {given.sample_id: given.label for given in answers}


def test_a_filled_in_sheet_completes_the_round(backend, store, sheet):
    fill_in(sheet, "Good", "-1", "skip", annotator="ann")
    answers = collect_all(backend, 1)
    assert labels_of(answers) == {1: "Good", BIG: "-1", -3: None}
    assert {given.annotator for given in answers} == {"ann"}


def test_the_sheet_shows_sample_suggestion_reason_and_choices(backend, tmp_path):
    payload = Payload(predicted="Good", confidence=0.826)
    backend.submit([question(1, why="two labels are close", payload=payload)])
    backend.collect(1)
    assert rows_of(tmp_path / "run/rounds/0001/sheet.csv") == [
        {
            "sample_id": "s1",
            "vote": "1",
            "task": "tone",
            "domain": "mail",
            "sample": TEXTS[1],
            "suggestion": "Good (83%)",
            "why": "two labels are close",
            "choices": "'-1 | Good | skip",
            "label": "",
            "annotator": "",
        }
    ]


@pytest.mark.parametrize(
    ("names", "columns"),
    [(("first", "second"), ["first", "second"]), (("vote", "x"), ["sample", "sample_2"])],
)
def test_both_texts_of_a_pair_have_a_column(backend, tmp_path, names, columns):
    part = Part("pool", DomainKey("tone", "mail"), "a", 1)
    pair = [{"sample_id": 1, "key": "1", "text": joined(["Is it?", "It is."])}]
    backend.storage.write_table(part.key("pool"), pa.Table.from_pylist(pair, schema=POOL))
    asking = replace(backend, kinds={"tone": Regression((), (0, 5))}, pairs={"tone": names})
    asking.submit([question(1)])
    asking.collect(1)
    sheet = tmp_path / "run/rounds/0001/sheet.csv"
    (row,) = rows_of(sheet)
    assert [row[name] for name in columns] == ["Is it?", "It is."]
    assert row["choices"] == "a number from 0 to 5 | skip"
    fill_in(sheet, "3.50")
    assert labels_of(asking.collect(1)) == {1: "3.5"}


def one_kind(backend, kind):
    """The same sheet for another kind of task, asking for one mail."""
    asking = replace(backend, kinds={"tone": kind})
    asking.submit([question(1)])
    assert asking.collect(1) == []
    return asking


@pytest.mark.parametrize(
    ("written", "label"),
    [
        ("law|art", "art | law"),
        ("Law", "law"),
        ("(none)", "(none)"),
        ("(None)", "(none)"),
        ("skip", None),
    ],
)
def test_several_labels_can_be_written_in_any_order(backend, tmp_path, written, label):
    asking = one_kind(backend, MultiLabel(("art", "law", "war")))
    sheet = tmp_path / "run/rounds/0001/sheet.csv"
    (row,) = rows_of(sheet)
    assert row["choices"] == "any of: art | law | war | (none) | skip"
    fill_in(sheet, written)
    assert labels_of(asking.collect(1)) == {1: label}


@pytest.mark.parametrize(
    ("labels", "choices", "written", "label"),
    [
        (("go", "skip"), "go | skip", "skip", "skip"),
        (("go", "skip"), "go | skip", "SKIP", "skip"),
        (("go", "Skip"), "go | Skip", "Skip", "Skip"),
    ],
)
def test_a_label_that_is_spelled_like_a_skip_is_a_label(
    backend, tmp_path, labels, choices, written, label
):
    asking = one_kind(backend, Classification(labels))
    sheet = tmp_path / "run/rounds/0001/sheet.csv"
    assert rows_of(sheet)[0]["choices"] == choices
    fill_in(sheet, written)
    assert labels_of(asking.collect(1)) == {1: label}


def test_a_skip_that_could_be_a_label_is_an_error(backend, tmp_path):
    asking = one_kind(backend, Classification(("go", "Skip")))
    fill_in(tmp_path / "run/rounds/0001/sheet.csv", "skip")
    with pytest.raises(DataError, match=r"csv:2: 'skip' could be the label 'Skip', or "):
        asking.collect(1)


def test_a_blind_question_hides_what_the_model_thinks(backend, tmp_path):
    backend.submit([question(1, payload=Payload(predicted="Good"), hide_prediction=True)])
    backend.collect(1)
    assert rows_of(tmp_path / "run/rounds/0001/sheet.csv")[0]["suggestion"] == ""


def test_a_half_filled_sheet_is_taken_over_and_the_rest_waited_for(backend, store, sheet):
    fill_in(sheet, "Good")
    with pytest.raises(AwaitingAnnotations, match=r"1 of 3 answered; fill in .*sheet.csv"):
        collect_all(backend, 1)
    fill_in(sheet, "Good", "-1", "Good")
    assert len(collect_all(backend, 1)) == 3


def test_reading_a_sheet_again_changes_nothing_and_a_changed_label_replaces(backend, sheet):
    for label in ("Good", "Good", "-1", "Good", "skip"):
        fill_in(sheet, label)
        answers = backend.collect(1)
        assert labels_of(answers) == {1: None if label == "skip" else label}


def test_an_emptied_label_takes_nothing_back(backend, sheet):
    fill_in(sheet, "Good", annotator="ann")
    backend.collect(1)
    fill_in(sheet, "")
    assert labels_of(backend.collect(1)) == {1: "Good"}


def test_a_name_filled_in_later_is_the_same_person(backend, sheet):
    fill_in(sheet, "Good")
    backend.collect(1)
    fill_in(sheet, "-1", annotator="ann")
    assert labels_of(backend.collect(1)) == {1: "-1"}
    assert len(backend.collect(1)) == 1


def test_cells_that_look_like_formulas_are_neutralised_and_read_back(backend, sheet):
    (row,) = [row for row in rows_of(sheet) if row["sample"].endswith("HYPERLINK(1)")]
    assert row["sample"] == "'=HYPERLINK(1)"
    fill_in(sheet, "'-1")
    assert labels_of(backend.collect(1)) == {1: "-1"}


def test_a_sheet_can_be_sorted_extended_and_saved_with_semicolons(backend, sheet):
    rows = [{"note": "mine", **row, "label": "good "} for row in reversed(rows_of(sheet))]
    save(sheet, rows, delimiter=";")
    assert labels_of(backend.collect(1)) == dict.fromkeys(TEXTS, "Good")


def test_images_are_written_beside_the_sheet(backend, sheet, tmp_path):
    backend.submit([Question("camp", 2, "digit", "s", i) for i in (1, 2)])
    backend.collect(2)
    names = [row["sample"] for row in rows_of(tmp_path / "run/rounds/0002/sheet.csv")]
    assert names == ["images/digit/s1.png", "images/digit/s2.png"]
    first, second = (tmp_path / "run/rounds/0002" / name for name in names)
    assert first.read_bytes() == PNG
    assert second.read_bytes().startswith(b"\x89PNG")  # spreadsheet programs and viewers know it


def test_votes_are_rows_of_different_people(backend, store, tmp_path):
    backend.submit([question(1, votes=2)])
    backend.collect(1)
    sheet = tmp_path / "run/rounds/0001/sheet.csv"
    fill_in(sheet, "Good", "-1", annotator="ann")
    with pytest.raises(DataError, match=r"sheet.csv:4: ann labeled this sample in line 2"):
        backend.collect(1)
    fill_in(sheet, "Good", "-1")
    assert [given.annotator for given in collect_all(backend, 1)] == [
        "sheet",
        "sheet-2",
    ]


def test_a_lost_sheet_is_written_anew_with_what_is_known(backend, store, tmp_path):
    backend.submit([question(1, votes=3), question(-3, votes=3)])
    backend.collect(1)
    sheet = tmp_path / "run/rounds/0001/sheet.csv"
    fill_in(sheet, "", "Good", "-1", "skip")
    before = backend.collect(1)
    sheet.unlink()
    backend.collect(1)
    known = [(row["label"], row["annotator"]) for row in rows_of(sheet)]
    assert known[:3] == [("", ""), ("Good", "sheet-2"), ("'-1", "sheet-3")]
    assert known[3] == ("skip", "sheet")
    assert backend.collect(1) == before


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text.replace(",Good,", ",Godo,"), r"csv:2: label 'Godo' \(did you"),
        (lambda text: text.replace("s-3", "s-4"), r"csv:5: sample s-4 of task tone .* not asked"),
        (lambda text: text.replace("s-3", "4.6E+18"), r"csv:5: sample_id .* found '4.6E\+18'"),
        (lambda text: text + text.splitlines()[-1], r"csv:6: sample s-3 .* is in line 5 already"),
        (lambda text: text[: text.index("s-3")], r"csv:4: .* without sample s-3 .* 1 of 3 rows"),
        (lambda text: text.replace("sample_id", "id"), r"csv:1: missing column sample_id"),
        (lambda text: text.replace("fine", '"fine'), r"csv:5: not CSV"),
        (lambda text: "", r"csv:1: missing column"),
    ],
)
def test_a_damaged_sheet_is_one_error_with_its_line_and_loses_nothing(
    backend, store, sheet, change, message
):
    fill_in(sheet, "Good", "-1")
    damaged = change(sheet.read_bytes().decode("utf-8-sig")).encode()
    sheet.write_bytes(damaged)
    with pytest.raises(DataError, match=message):
        backend.collect(1)
    assert sheet.read_bytes() == damaged
    assert store.answers("camp") == []


def test_a_sheet_in_another_encoding_is_refused_with_its_line(backend, sheet):
    sheet.write_bytes(sheet.read_bytes() + "s1,\xe9".encode("latin-1"))
    with pytest.raises(DataError, match=r"csv:6: not UTF-8"):
        backend.collect(1)


def test_a_question_without_its_sample_is_an_error_that_names_it(backend):
    backend.submit([question(99)])
    with pytest.raises(StoreError, match="sample 99 of tone/mail"):
        backend.collect(1)


def test_a_piece_of_a_text_is_placed_in_it(backend, tmp_path):
    asking = one_kind(backend, ExtractiveQA())
    sheet = tmp_path / "run/rounds/0001/sheet.csv"
    fill_in(sheet, "then")
    assert labels_of(asking.collect(1)) == {1: answer_text([Span(15, "then")])}
    fill_in(sheet, "than")
    with pytest.raises(DataError, match=r"sheet.csv:2: answer 'than' is not in the text"):
        asking.collect(1)


def swapped(rows, column):
    """The rows after somebody sorted one column alone."""
    cells = [row[column] for row in rows]
    return [{**row, column: cell} for row, cell in zip(rows, cells[1:] + cells[:1], strict=True)]


@pytest.fixture
def ask_texts(store, tmp_path):
    """Write the sheet of round 1 about other texts; returns the backend and the sheet."""

    def ask_texts(*texts, pairs=None):
        storage, mail = (
            Storage(str(tmp_path / "other")),
            Part("pool", DomainKey("tone", "mail"), "a", 3),
        )
        rows = [{"sample_id": i, "key": str(i), "text": text} for i, text in enumerate(texts, 1)]
        storage.write_table(mail.key("pool"), pa.Table.from_pylist(rows, schema=POOL))
        backend = SheetBackend(store, "camp", storage, [mail], KINDS, pairs or {})
        backend.submit([question(i) for i in range(1, len(texts) + 1)])
        backend.collect(1)
        return backend, tmp_path / "other/rounds/0001/sheet.csv"

    return ask_texts


def test_a_label_is_not_taken_where_the_column_of_samples_was_sorted_alone(backend, store, sheet):
    fill_in(sheet, "Good", "-1", "skip")
    rows = rows_of(sheet)
    save(sheet, swapped(rows, "sample"))
    said = r"sheet\.csv:2: column sample has another text than was written for sample s1 of task "
    with pytest.raises(DataError, match=rf"{said}.*: sort rows with all their columns, and put"):
        backend.collect(1)
    assert store.answers("camp") == []
    save(sheet, [rows[2], rows[0], rows[1]])
    assert labels_of(backend.collect(1)) == {1: "Good", BIG: "-1", -3: None}


def test_the_images_of_rows_cannot_be_mixed_up_either(backend, tmp_path):
    backend.submit([Question("camp", 1, "digit", "s", i) for i in (1, 2)])
    backend.collect(1)
    images = tmp_path / "run/rounds/0001/sheet.csv"
    fill_in(images, "0", "1")
    rows = rows_of(images)
    save(images, swapped(rows, "sample"))
    with pytest.raises(DataError, match=r"sheet\.csv:2: column sample .* 'images/digit/s2\.png':"):
        backend.collect(1)
    save(images, [{**row, "sample": f"C:\\x\\{row['sample']}".replace("/", "\\")} for row in rows])
    assert labels_of(backend.collect(1)) == {1: "0", 2: "1"}


def test_a_text_of_a_pair_cannot_be_sorted_alone_either(ask_texts):
    backend, sheet = ask_texts(
        joined(("who?", "a man")), joined(("when?", "a day")), pairs={"tone": ("question", "text")}
    )
    fill_in(sheet, "Good", "Good")
    save(sheet, swapped(rows_of(sheet), "text"))
    with pytest.raises(DataError, match=r"sheet\.csv:2: column text has another text"):
        backend.collect(1)


def test_a_sheet_without_its_column_of_samples_is_read(backend, sheet):
    fill_in(sheet, "Good")
    save(sheet, [{k: v for k, v in row.items() if k != "sample"} for row in rows_of(sheet)])
    assert labels_of(backend.collect(1)) == {1: "Good"}


LONG = "words of a long text " * 2000


@pytest.mark.parametrize(
    ("written", "found"),
    [
        ("two\nlines ", "two\r\nlines"),
        ("a  b\u00a0c", "a b c"),
        ("cafe\u0301 \u201cok\u201d", "caf\u00e9 \u201cok\u201d"),
        ("na\u00efve \U0001f600 yes", "na?ve ?? yes"),
        ("\u662f\u7684", "??"),
        ("007", "7"),
        ("1.50", "1.5"),
        ("2024-03-01", "01. Mrz 24"),
        ("12345678901234567890", "1,23457E+19"),
        ("true", "WAHR"),
        (LONG, LONG[:15000]),
        (LONG, LONG[:30000]),
        ("=1+1", "=1+1"),
    ],
)
def test_what_spreadsheet_programs_make_of_a_text_is_still_it(ask_texts, written, found):
    backend, sheet = ask_texts(written, "another text", "7.0 of 9 words are here")
    fill_in(sheet, "Good")
    rows = rows_of(sheet)
    rows[0]["sample"] = found
    save(sheet, rows)
    assert labels_of(backend.collect(1)) == {1: "Good"}


@pytest.mark.parametrize(
    ("written", "found"),
    [
        ("some text", "some other text"),
        ("some text", ""),
        ("yes!", "yes?"),
        ("12", "13"),
        ("\u662f\u7684", "\u4e0d\u662f"),
        (LONG, "another text"),
    ],
)
def test_the_text_of_another_sample_is_not(ask_texts, written, found):
    backend, sheet = ask_texts(written, "another text", "yes?", "13", "\u4e0d\u662f")
    fill_in(sheet, "Good")
    rows = rows_of(sheet)
    rows[0]["sample"] = found
    save(sheet, rows)
    with pytest.raises(DataError, match=r"sheet\.csv:2: column sample has another text"):
        backend.collect(1)


def test_what_was_taken_over_before_is_not_compared_again(backend, sheet):
    fill_in(sheet, "Good")
    backend.collect(1)
    save(sheet, swapped(rows_of(sheet), "sample"))
    assert labels_of(backend.collect(1)) == {1: "Good"}


def test_the_name_of_an_annotator_is_as_short_as_that_of_an_account(backend, sheet):
    fill_in(sheet, "Good", annotator="x" * 65)
    with pytest.raises(
        DataError, match=r"sheet\.csv:2: annotator 'x+' must be one line of 1 to 64"
    ):
        backend.collect(1)
