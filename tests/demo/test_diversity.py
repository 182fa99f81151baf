from dataclasses import replace

import yaml
from rich.console import Console

from tests.report.test_refill import gap
from umc_ray.config.loading import load_campaign
from umc_ray.demo.diversity import PEERS, tried_table, truth_lines, write_campaign, write_peer
from umc_ray.demo.planted import TURNED, Drawing
from umc_ray.methods.identity import sample_ids
from umc_ray.report.refill import Attempt, Lack, Seen


def test_peers_ask_as_many_questions_and_know_nothing_of_gaps(tmp_path):
    path = write_campaign(tmp_path, tmp_path / "diversity-data")
    config = load_campaign(path)
    assert config.domains()
    assert config.stop.worst_recall and config.stop.equalized_odds
    for changes in PEERS.values():
        peer = load_campaign(write_peer(path, changes, 120))
        assert peer.budget.labels == 120
        assert not peer.refine.share and not peer.refine.generators
        assert peer.stop.worst_recall is None
        assert peer.tasks == config.tasks
    names = {yaml.safe_load(each.read_text())["name"] for each in tmp_path.glob("*.yaml")}
    assert names == {"diversity", "diversity-default", "diversity-random"}


def test_all_that_was_tried_is_listed():
    made = (Attempt("changed", 12, 10, 9), Attempt("blended", 20, 5, 4))
    found = [
        Lack("digits/scans", Seen("gap ab12cd", "", 35.0), 0, 1, 14, made),
        Lack("digits/strokes", Seen("label 9", "", 6.0), 2, None, 3, ()),
    ]
    console = Console(width=200)
    with console.capture() as captured:
        console.print(tried_table(found))
    gap, label = [line for line in captured.get().splitlines() if "digits/" in line]
    assert "at the start" in gap and "round 1" in gap and " 14 " in gap
    assert "changed: 12 made, 10 validated, 9 used; blended: 20 made" in gap
    assert "round 2" in label and "still open" in label and "none" in label


def test_the_demo_says_how_much_of_a_gap_is_what_was_planted():
    drawings = [Drawing(f"k{i}", b"", "1", TURNED if i < 3 else "upright") for i in range(10)]
    ids = sample_ids("digits", "scans", "pool", [each.key for each in drawings]).tolist()
    found = replace(gap("ab12cd"), members=ids[:4])
    lacks = [
        Lack("digits/scans", Seen("gap ab12cd", "", 35.0, found), 0, 1, 14, ()),
        Lack("digits/scans", Seen("label 9", "", 6.0), 0, 1, 14, ()),
    ]
    said = list(truth_lines(lacks, {"scans": drawings}))
    assert said == ["gap ab12cd: 3 of its 4 most typical samples are turned"]
