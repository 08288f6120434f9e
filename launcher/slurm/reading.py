"""How Slurm writes facts down: `Key = value` lines, `Key=value` words, times, numbers, lists. Any text is survived."""

import re

_NOTHING = ("", "(null)", "n/a", "none", "unlimited", "infinite", "invalid", "not_set", "-1")
_UNITS = {"sec": 1, "secs": 1, "min": 60, "mins": 60}
_CLOCK = re.compile(r"(?:(\d+)-)?(?:(\d+):)?(\d+):(\d+)(?:\.\d+)?")


def read_config(text: str) -> dict[str, str]:
    """`scontrol show config` by name; of a name that comes twice the first, which is slurm.conf's."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        name, equals, value = line.partition("=")
        if equals and name.strip():
            found.setdefault(name.strip(), value.strip())
    return found


def read_words(line: str) -> dict[str, str]:
    """A line of `scontrol --oneliner`: `TRES=cpu=4,mem=1G` is TRES alone."""
    return dict(re.findall(r"(\S+?)=(\S*)", line))


def read_seconds(text: str | None) -> int | None:
    """Seconds of `5 sec`, `2 min`, `20`, `01:30:00`, `7-00:00:00`; None for no limit and for any other text."""
    written = (text or "").strip().lower()
    number, _, unit = written.partition(" ")
    if number.isdecimal() and (not unit or unit in _UNITS):
        return int(number) * _UNITS.get(unit, 1)
    clock = _CLOCK.fullmatch(written)
    if clock is None:
        return None
    days, hours, minutes, seconds = (int(part or 0) for part in clock.groups())
    return ((days * 24 + hours) * 60 + minutes) * 60 + seconds


def read_number(text: str | None) -> int | None:
    """A whole number; None for no limit and for any other text."""
    written = (text or "").strip()
    return int(written) if written.isdecimal() else None


def read_text(text: str | None) -> str | None:
    """A word; None for what Slurm writes where there is nothing."""
    written = (text or "").strip()
    return None if written.lower() in _NOTHING else written


def read_list(text: str | None) -> tuple[str, ...]:
    """The words of a list with commas; () where there is nothing."""
    return tuple(word for part in (text or "").split(",") if (word := read_text(part)))


def read_parameter(text: str | None, name: str) -> str | None:
    """Value of `name=value` in a list with commas, "" for a bare `name`; None where it is not there. In any case."""
    for word in read_list(text):
        key, _, value = word.partition("=")
        if key.strip().lower() == name.lower():
            return value.strip()
    return None
