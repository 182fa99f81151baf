from umc_ray.console import ProgressDisplay


def test_a_stage_that_starts_again_with_its_rows_has_one_bar():
    display = ProgressDisplay()
    display.begin("ingest", None)
    first = display.begin("ingest", 40)
    first(30)
    (bar,) = display.progress.tasks
    assert (bar.description, bar.completed, bar.total) == ("ingest", 30, 40)
    display.begin("ingest", 100)(5)
    (bar,) = display.progress.tasks
    assert (bar.completed, bar.total) == (5, 100)
    display.end("ingest", 0.1)
    assert not display.progress.tasks
    display.begin("ingest", 7)
    display.begin("encode", 8)
    assert [bar.total for bar in display.progress.tasks] == [7, 8]
    display.end("ingest", 0.1)
    assert [bar.total for bar in display.progress.tasks] == [8]
