import io

import pytest
import yaml
from PIL import Image

from umc_ray.config.loading import load_campaign
from umc_ray.diversity.generators.files import read_files
from umc_ray.diversity.synthetic import read_origins, synthetic_parts
from umc_ray.errors import ConfigError, DataError
from umc_ray.records import DomainKey
from umc_ray.storage import Storage

TEXTS = {
    "kind": "classification",
    "labels": ["bad", "good"],
    "encoder": {"kind": "static_text", "path": "encoder"},
    "domains": {"posts": {"source": "posts.csv", "text": "text"}},
}
SCANS = {
    "kind": "classification",
    "labels": ["zero", "one"],
    "encoder": {"kind": "pixels", "image_px": 8},
    "domains": {"scans": {"source": "scans"}},
}


class World:
    def __init__(self, folder, task, generator, **changes):
        self.folder = folder
        (folder / "encoder").mkdir()
        values = {
            "name": "c",
            "storage": "runs",
            "tasks": {"mood": task},
            "budget": {"labels": 9, "per_round": 3},
            "ingest": {"max_bad_share": 0.5},
            "refine": {"generators": {"maker": {"kind": "files", **generator}}},
            **changes,
        }
        (folder / "c.yaml").write_text(yaml.safe_dump(values))
        self.config = load_campaign(folder / "c.yaml")
        self.storage = Storage(str(folder / "runs" / "c"))
        self.domain_key = next(iter(self.config.domains()))

    def read(self):
        return read_files(self.config, self.storage)

    def rows(self):
        parts = synthetic_parts(self.storage, [self.domain_key])
        return sorted(read_origins(self.storage, parts).to_pylist(), key=lambda row: row["row"])


def test_a_table_is_read_as_its_domain_is_and_bad_rows_go_to_the_quarantine(tmp_path):
    world = World(tmp_path, TEXTS, {"path": "made.csv", "label": "for", "answer": "said"})
    (tmp_path / "made.csv").write_text(
        "text,for,said\nfine,good,good\npoor,GOOD,bad\n,bad,bad\nx,odd,bad\nsad,bad,\ny,bad,odd\n"
    )
    assert world.read() == 3
    rows = world.rows()
    assert [(row["generator"], row["label"]) for row in rows] == [
        ("maker", "good"),
        ("maker", "good"),
        ("maker", "bad"),
    ]
    (part,) = synthetic_parts(world.storage, [DomainKey("mood", "posts")])
    pool = world.storage.read_table(part.key("pool")).to_pylist()
    assert [row["key"] for row in pool] == [f"maker/made.csv#{line}" for line in (1, 2, 5)]
    oracle = world.storage.read_table(part.key("oracle"))["label"].to_pylist()
    assert oracle == ["good", "bad", None]
    (quarantine,) = world.storage.keys("quarantine/synthetic/mood/posts")
    bad = world.storage.read_table(quarantine)["reason"].to_pylist()
    assert len(bad) == 3
    assert any(reason.startswith("unknown answer: said: label 'odd'") for reason in bad)


def test_files_need_no_groups_and_without_answers_nothing_is_taken_for_one(tmp_path):
    domain = {**TEXTS["domains"]["posts"], "groups": ["sex"], "keep": ["page"]}
    world = World(tmp_path, {**TEXTS, "domains": {"posts": domain}}, {"path": "made.csv"})
    (tmp_path / "made.csv").write_text("text,label,page\nfine,good,7\n")
    assert world.read() == 1


def test_a_file_that_has_grown_adds_its_new_rows_and_nothing_twice(tmp_path):
    world = World(tmp_path, TEXTS, {"path": "made.jsonl"})
    file = tmp_path / "made.jsonl"
    file.write_text('{"text": "fine", "label": "good"}\n')
    assert (world.read(), world.read()) == (1, 0)
    with file.open("a") as lines:
        lines.write('{"text": "poor", "label": "bad"}\n')
    assert (world.read(), len(world.rows())) == (1, 2)
    assert len({row["sample_id"] for row in world.rows()}) == 2


def test_images_have_the_name_of_their_folder_as_label(tmp_path):
    world = World(tmp_path, SCANS, {"path": "made"})
    for shade, name in ((0, "zero"), (200, "one")):
        (tmp_path / "made" / name).mkdir(parents=True)
        buffer = io.BytesIO()
        image = Image.new("L", (8, 8), shade)
        image.putpixel((3, 3), 99)
        image.save(buffer, "PNG")
        (tmp_path / "made" / name / "1.png").write_bytes(buffer.getvalue())
    assert world.read() == 2
    assert {row["label"] for row in world.rows()} == {"zero", "one"}


def test_too_many_bad_rows_stop_the_campaign_and_say_where_they_are(tmp_path):
    world = World(tmp_path, TEXTS, {"path": "made.csv"})
    (tmp_path / "made.csv").write_text("text,label\nfine,odd\npoor,odd\nsad,bad\n")
    with pytest.raises(DataError, match=r"maker: 2 of 3 rows of .*made.csv cannot be used"):
        world.read()
    assert world.rows() == []


@pytest.mark.parametrize(
    ("generator", "problem"),
    [
        ({}, "needs path"),
        ({"path": "x.csv", "domain": "mood/mail"}, "names domain mood/mail, the campaign has"),
    ],
)
def test_a_generator_of_files_needs_a_path_and_a_domain_that_there_is(tmp_path, generator, problem):
    with pytest.raises(ConfigError, match=problem):
        World(tmp_path, TEXTS, generator)


def test_contents_of_files_are_checked_too(tmp_path):
    generator = {"path": "made.csv", "filters": {"blocked": ["secret"]}}
    world = World(tmp_path, TEXTS, generator)
    (tmp_path / "made.csv").write_text("text,label\nfine,good\nA Secret plan,bad\n")
    world.read()
    assert [row["refused"] for row in world.rows()] == [None, "blocked: secret"]
