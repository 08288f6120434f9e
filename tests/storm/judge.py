"""Whether the storm kept the promises, from what the run itself has written."""

from collections import Counter

from tests.faults.watch import Watch
from tests.storm.job import INTERVAL
from tests.storm.schedule import DAMAGE, EACH, EARLY, KINDS, NOTICE
from tests.storm.state import Hit, State
from tests.storm.storm import Storm


def broken(storm: Storm) -> list[str]:
    """Every promise that was broken, in words; [] when all were kept."""
    state = storm.state
    watch = Watch(storm.folder).look() if storm.folder.path.exists() else None
    found = [words for hit in state.hits for words in _of(hit, watch)]
    if state.calm is None or state.digest != state.calm.digest:
        found.append("the final weights are not those of the calm run")
    found += _coverage(state, len(storm.faults))
    if watch is not None:
        found += _gaps(watch)
        found += [words for hit in state.hits for words in _told(hit, watch)]
    return found


def _of(hit: Hit, watch: Watch | None) -> list[str]:
    name = f"fault {hit.number + 1} ({hit.kind} in {hit.phase}, attempt {hit.attempt})"
    if hit.lost is None:
        return [f"{name}: no step was made after it"]
    found = []
    if hit.lost < 0:
        found.append(f"{name}: steps {hit.before + 1} to {hit.before - hit.lost} were never made")
    if hit.kind in NOTICE and hit.lost > 0:
        found.append(f"{name}: {hit.lost} steps lost in spite of the notice")
    # The step under way when it hit is none of the run's yet, and a save is due at the end of its interval.
    allowed = INTERVAL * (2 if hit.kind in DAMAGE else 1)
    if watch is not None and hit.kind not in NOTICE:
        allowed += watch.under_way(hit.attempt)  # a full tune goes on while a checkpoint is written
    if hit.lost > allowed:
        found.append(f"{name}: {hit.lost} steps lost, {allowed} allowed")
    if hit.by_hand and hit.kind != "full_disk":
        found.append(f"{name}: the run did not go on by itself")
    return found


def _told(hit: Hit, watch: Watch) -> list[str]:
    """What the run's own events say of a notice: the step of its end, and the first one of a later attempt."""
    if hit.kind not in NOTICE or hit.phase in EARLY:
        return []
    name = f"fault {hit.number + 1} ({hit.kind} in {hit.phase}, attempt {hit.attempt})"
    said = watch.of(hit.attempt, "preempted") + watch.of(hit.attempt, "timed_out")
    wanted = "preempted" if hit.kind == "preemption" else "timed_out"
    if [event["event"] for event in said] != [wanted]:
        return [f"{name}: its events are {[event['event'] for event in said]}, not {wanted} once"]
    later = (event for event in watch.events if event["event"] == "step" and event["attempt"] > hit.attempt)
    first = next(later, None)
    if first is None or first["step"] != said[0]["step"] + 1:
        return [f"{name}: it ended at step {said[0]['step']}, and the next step was {first and first['step']}"]
    return []


def _coverage(state: State, faults: int) -> list[str]:
    kinds = Counter(hit.kind for hit in state.hits)
    each = min(EACH, faults // len(KINDS))
    found = [f"only {kinds[kind]} of {each} faults of the kind {kind} hit" for kind in KINDS if kinds[kind] < each]
    saves = sum(hit.phase == "save" for hit in state.hits)
    if saves < faults // 5:
        found.append(f"only {saves} of {faults // 5} faults hit inside a save")
    return found


def _gaps(watch: Watch) -> list[str]:
    """An attempt's steps follow one another: two attempts at once would mix."""
    found = []
    for attempt in sorted({int(line["attempt"]) for line in watch.events if line["event"] == "started"}):
        steps = watch.steps_of(attempt)
        if steps and steps != list(range(steps[0], steps[-1] + 1)):
            found.append(f"the steps of attempt {attempt} do not follow one another: another attempt wrote, too")
    return found
