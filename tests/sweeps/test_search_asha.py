"""Successive halving as a pure function: rungs, and what may go on."""

from hypothesis import given, settings
from hypothesis import strategies as st

from sweeps.asha import promotion, rungs


def test_rungs_rise_by_eta_up_to_the_full_length() -> None:
    assert rungs(27, 3, 3) == (3, 9, 27)
    assert rungs(30, 3, 3) == (3, 9, 27, 30)
    assert rungs(100, None, 3) == (12, 36, 100)
    assert rungs(5, 9, 2) == (5,)
    assert rungs(1, None, 3) == (1,)


def test_a_trial_goes_on_as_soon_as_it_is_among_the_best_of_its_rung() -> None:
    reached: list[dict[int, float]] = [{0: 3.0, 1: 1.0}, {}]
    assert promotion(reached, [{0, 1, 2}, set()], 3, closing=False) is None
    reached[0][2] = 2.0
    assert promotion(reached, [{0, 1, 2}, set()], 3, closing=False) == (1, 0)
    assert promotion(reached, [{0, 1, 2}, {1}], 3, closing=False) is None


def test_at_the_end_somebody_reaches_the_last_rung() -> None:
    reached: list[dict[int, float]] = [{0: 3.0, 1: 1.0}, {}, {}]
    assert promotion(reached, [{0, 1}, set(), set()], 3, closing=True) == (1, 0)
    assert promotion(reached, [{0, 1, 2}, set(), set()], 3, closing=True) is None, "trial 2 is still to come"


@settings(max_examples=200, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=30), st.integers(2, 4), st.integers(1, 4), st.randoms())
def test_whatever_the_order_of_events(losses: list[float], eta: int, workers: int, dice: object) -> None:
    """Workers that take their time: each rung is reached once a trial and from the rung below, the best of all trials
    reaches the end where losses keep their order, and at least one trial does."""
    last = 2
    reached: list[dict[int, float]] = [{} for _ in range(last + 1)]
    begun: list[set[int]] = [set() for _ in range(last + 1)]
    waiting = list(range(len(losses)))
    running: list[tuple[int, int]] = []
    while True:
        while len(running) < workers:
            chosen = promotion(reached, begun, eta, closing=not waiting)
            if chosen is not None:
                trial, rung = chosen[0], chosen[1] + 1
                assert trial in reached[rung - 1] and trial not in begun[rung]
            elif waiting:
                trial, rung = waiting.pop(0), 0
            else:
                break
            begun[rung].add(trial)
            running.append((trial, rung))
        if not running:
            break
        trial, rung = running.pop(dice.randrange(len(running)))  # type: ignore[attr-defined]
        reached[rung][trial] = losses[trial]
    assert begun == [set(found) for found in reached]
    assert reached[last]
    best = min(range(len(losses)), key=lambda trial: (losses[trial], trial))
    assert best in reached[last]
