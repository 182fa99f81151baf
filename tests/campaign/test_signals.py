import os
import signal

import pytest

from umc_ray.campaign.signals import SIGNALS, StopOnSignal
from umc_ray.campaign.stages import NULL_LISTENER
from umc_ray.errors import Stopped


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_ends_the_stage_behind_a_part_and_no_other_begins(number):
    before = [signal.getsignal(each) for each in SIGNALS]
    with StopOnSignal(NULL_LISTENER) as watch:
        on_rows = watch.begin("scores", rows=100)
        on_rows(10)
        os.kill(os.getpid(), number)
        with pytest.raises(Stopped, match=number.name):
            on_rows(10)
        with pytest.raises(Stopped, match=number.name):
            watch.begin("metrics", rows=None)
        assert signal.getsignal(number) == signal.SIG_DFL  # the second ends the process
    assert [signal.getsignal(each) for each in SIGNALS] == before


def test_without_a_signal_the_watch_hears_all():
    class Heard(list):
        def begin(self, stage, rows):
            self.append((stage, rows))
            return self.append

        def end(self, stage, seconds):
            self.append((stage, seconds))

    heard = Heard()
    with StopOnSignal(heard) as watch:
        watch.begin("scores", 20)(20)
        watch.end("scores", 1.5)
    assert heard == [("scores", 20), 20, ("scores", 1.5)]
