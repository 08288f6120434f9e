"""What a run has held: devices x hours over all its attempts, lost and undone ones included."""

from datetime import UTC, datetime
from typing import Any

from conf.folder import RunFolder, read_json


def gpu_hours(folder: RunFolder, running: bool = False) -> float:
    """Device-hours of a run: the sum over its attempts of nodes x devices of a node x hours between the agent's start
    and the attempt's end. What Slurm counts before the agent starts and after it ends is left out.

    `running`: whether the newest attempt holds its nodes at this moment. Devices of a CPU run are its workers."""
    return float(sum(attempt["gpu_hours"] for attempt in attempts(folder, running)))


def attempts(folder: RunFolder, running: bool = False) -> list[dict[str, Any]]:
    """attempt.json of every attempt that has one, oldest first, with what it held as `gpu_hours` and `until`."""
    numbers = folder.attempt_numbers()
    records = [record for number in numbers if (record := read_json(folder.attempt_folder(number) / "attempt.json"))]
    signs = _last_signs(folder) if records else {}
    found = []
    for position, record in enumerate(records):
        following = records[position + 1] if position + 1 < len(records) else None
        until = _end(record, following, signs.get(record.get("attempt", 0)), running and following is None)
        devices = len(record.get("nodes", ())) * _devices_per_node(folder, record)
        found.append(record | {"until": until, "gpu_hours": devices * _hours(record.get("started"), until)})
    return found


def _end(record: dict[str, Any], following: dict[str, Any] | None, sign: str | None, running: bool) -> str | None:
    """When an attempt ended. One whose node died has its end written by the attempt after it, which may have waited
    for hours: its last sign of life is nearer."""
    ended: str | None = record.get("ended")
    written_later = following is not None and ended is not None and ended > str(following.get("started") or ended)
    if ended is not None and not written_later:
        return ended
    if running:
        return datetime.now(UTC).isoformat(timespec="milliseconds")
    return sign or ended


def _last_signs(folder: RunFolder) -> dict[int, str]:
    """Time of the last event of each attempt; a metrics line counts for the attempt that had begun before it."""
    found: dict[int, str] = {}
    begun: list[tuple[str, int]] = []
    for event in folder.events():
        number, time = int(event.get("attempt") or 0), str(event.get("t", ""))
        if event.get("event") == "submitted":
            continue
        found[number] = max(found.get(number, ""), time)
        if event.get("event") == "started":
            begun.append((time, number))
    for line in folder.metrics():
        time = str(line.get("t", ""))
        number = next((number for start, number in reversed(begun) if start <= time), 0)
        found[number] = max(found.get(number, ""), time)
    return found


def _devices_per_node(folder: RunFolder, record: dict[str, Any]) -> int:
    cluster = record.get("operational", {}).get("cluster", {})
    return int(cluster.get("devices_per_node") or folder.config().cluster.devices_per_node)


def _hours(start: str | None, end: str | None) -> float:
    """Hours between two times of ISO 8601; 0 where one is not known."""
    if not start or not end:
        return 0.0
    try:
        first, last = (datetime.fromisoformat(time) for time in (start, end))
        return max((last - first).total_seconds(), 0.0) / 3600
    except (ValueError, TypeError):
        return 0.0
