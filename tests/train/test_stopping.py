"""The first signal waits for the step's end, the second one does not wait."""

import signal

import pytest
from stgcma.train.stopping import StopSignals


@pytest.fixture(params=[signal.SIGINT, signal.SIGTERM])
def number(request):
    return request.param


def test_the_first_signal_is_noted_and_the_second_acts(number):
    acted = []
    before = signal.signal(number, lambda *_: acted.append("acted"))
    try:
        with StopSignals() as signals:
            assert signals.received is None
            signal.raise_signal(number)
            assert (signals.received, acted) == (number, [])
            signal.raise_signal(number)
            assert acted == ["acted"]
        signal.raise_signal(number)
        assert acted == ["acted"] * 2
    finally:
        signal.signal(number, before)


def test_the_program_ends_as_the_signal_would_have_it(number):
    wanted = KeyboardInterrupt if number == signal.SIGINT else SystemExit
    with pytest.raises(wanted) as caught:
        StopSignals.leave(number)
    if number == signal.SIGTERM:
        assert caught.value.code == 128 + number
