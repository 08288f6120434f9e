"""What an import says: the fate of every key, for people and for programs."""

import math
import re
from collections import Counter
from typing import Any, get_args

from launcher.axolotl.sheet import Finding, Sheet, Status, shown

STATUSES: tuple[Status, ...] = get_args(Status)
_SECRET = re.compile(r"(api_?key|access_token|auth_token|hub_token|hf_token|secret|password)$", re.IGNORECASE)
_WIDTH = 34


def counts(sheet: Sheet) -> dict[str, int]:
    """How many keys have each status."""
    found = Counter(finding.status for finding in sheet.findings.values())
    return {status: found[status] for status in STATUSES}


def records(sheet: Sheet) -> list[dict[str, Any]]:
    """Every key as JSON has it, in the order of the file."""
    return [
        {
            "key": finding.key,
            "value": _value(finding),
            "line": finding.line,
            "status": finding.status,
            "to": finding.to or None,
            "why": finding.why or None,
        }
        for finding in _ordered(sheet)
    ]


def text(sheet: Sheet) -> str:
    """The report for people: what stands in the way first, what needs no thought last."""
    lines = []
    order: tuple[Status, ...] = (
        "not supported", "not supported yet", "needs a decision", "mapped", "equivalent default",
    )  # fmt: skip
    for status in order:
        findings = [finding for finding in _ordered(sheet) if finding.status == status]
        if not findings:
            continue
        lines.append(f"{status} ({len(findings)}):")
        for finding in findings:
            where = f"{finding.line}: " if finding.line else ""
            head = f"{where}{finding.key}: {shown(_value(finding))}"
            said = " -> ".join(part for part in ("", finding.to) if part or finding.to)
            note = f"  ({finding.why})" if finding.why and finding.to else f"  {finding.why}" if finding.why else ""
            lines.append(f"  {head:{_WIDTH}}{said}{note}".rstrip())
    for key, line in sheet.source.repeated.items():
        lines.append(f"{key} stands twice with the same value; the second, in line {line}, can go")
    return "\n".join(lines)


def _ordered(sheet: Sheet) -> list[Finding]:
    return [sheet.findings[key] for key in sheet.places if key in sheet.findings]


def _value(finding: Finding) -> Any:
    return _shareable(finding.key, finding.value)


def _shareable(name: str, value: Any) -> Any:
    """A value without secrets, and with nothing in it that JSON has no word for."""
    if isinstance(value, dict):
        return {key: _shareable(key, inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_shareable(name, inner) for inner in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if _SECRET.search(name) and isinstance(value, str) and value:
        return "(hidden)"
    return value
