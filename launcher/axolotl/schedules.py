"""Keys of the learning rate's course: warm-up, schedule and its numbers."""

from launcher.axolotl.sheet import Sheet, is_off, shown

SCHEDULES = {
    "cosine": "cosine",
    "linear": "linear",
    "constant": "constant",
    "constant_with_warmup": "constant_with_warmup",
    "cosine_with_restarts": "cosine_with_restarts",
    "cosine_with_min_lr": "cosine_with_min_lr",
    "cosine_warmup_with_min_lr": "cosine_with_min_lr",
    "polynomial": "polynomial",
    "inverse_sqrt": "inverse_sqrt",
    "warmup_stable_decay": "wsd",
    "one_cycle": "one_cycle",
    "rex": "rex",
}
"""Every spelling of a schedule, and method.schedule."""
_WARMUP_SHARE = 0.03
_MOST_WARMUP = 100
"""Steps that Axolotl's own warm-up has at most where none is given."""


def take(sheet: Sheet) -> None:
    """Take the keys of the schedule."""
    name = (sheet.text("lr_scheduler") or "cosine").lower()
    schedule = SCHEDULES.get(name)
    if schedule is None:
        there = ", ".join(SCHEDULES)
        sheet.refuse("lr_scheduler", f"the schedule {name} there is not: {there}")
        return
    schedule = _numbers(sheet, schedule)
    sheet.set("method.schedule", schedule)
    sheet.mapped("lr_scheduler", "method.schedule")
    quadratic = bool(sheet.flag("lr_quadratic_warmup")) and name == "cosine"
    sheet.set("method.warmup_shape", "quadratic" if quadratic else "linear")
    if quadratic:
        sheet.mapped("lr_quadratic_warmup", "method.warmup_shape")
    else:
        sheet.same("lr_quadratic_warmup", "of a cosine schedule, where it is on")
    sheet.same("lr_div_factor", "Axolotl does not read it")
    _warmup(sheet, schedule)


def _numbers(sheet: Sheet, schedule: str) -> str:
    """The schedule with its numbers; a cosine with a floor is a schedule of its own."""
    floor, held = sheet.number("cosine_min_lr_ratio", 0), sheet.number("cosine_constant_lr_ratio", 0)
    quadratic = bool(sheet.flag("lr_quadratic_warmup"))
    if floor is not None and floor >= 1:
        sheet.refuse("cosine_min_lr_ratio", f"{floor:g} must be below 1: a share of the peak")
        floor = None
    if schedule == "cosine" and floor and not quadratic:
        schedule = "cosine_with_min_lr"
        sheet.set("method.min_lr_ratio", floor)
        sheet.mapped("cosine_min_lr_ratio", "method.schedule, method.min_lr_ratio")
        if held is not None and 0 < held < 1:
            # Axolotl's number is where the decay ends, as a share of all steps; the rest is held.
            sheet.put("cosine_constant_lr_ratio", "method.constant_ratio", round(1 - held, 12))
        elif held is not None:
            sheet.same("cosine_constant_lr_ratio", "the decay goes on to the end")
    elif schedule == "rex":
        sheet.set("method.min_lr_ratio", floor or 0.0)
        sheet.mapped("cosine_min_lr_ratio", "method.min_lr_ratio")
    for key in ("cosine_min_lr_ratio", "cosine_constant_lr_ratio"):
        if not sheet.known(key):
            sheet.same(key, "with this schedule it has no effect")
    _arguments(sheet, schedule)
    if schedule == "wsd":
        sheet.fields.setdefault("method.min_lr_ratio", 0.0)
    elif schedule == "cosine_with_min_lr" and "method.min_lr_ratio" not in sheet.fields:
        sheet.refuse("lr_scheduler", "this schedule needs lr_scheduler_kwargs with min_lr_rate: Axolotl fails without")
    return schedule


def _arguments(sheet: Sheet, schedule: str) -> None:
    """lr_scheduler_kwargs."""
    if sheet.raw("lr_scheduler_kwargs") is not None and not isinstance(sheet.raw("lr_scheduler_kwargs"), dict):
        sheet.refuse("lr_scheduler_kwargs", f"{shown(sheet.raw('lr_scheduler_kwargs'))} must be a mapping")
        return
    steps = sheet.fields.get("method.max_steps")
    rate = sheet.number("learning_rate")
    for place in sheet.within("lr_scheduler_kwargs"):
        name = place.rpartition(".")[2]
        value = sheet.number(place) if name not in ("decay_type", "warmup_type", "anneal_strategy") else None
        floor = value / rate if name == "min_lr" and value is not None and rate else value
        if name == "num_cycles" and schedule == "cosine_with_restarts" and value and value == int(value):
            sheet.put(place, "method.cycles", int(value))
        elif (
            name in ("min_lr_rate", "min_lr_ratio", "min_lr")
            and schedule in ("cosine_with_min_lr", "wsd")
            and floor is not None
        ):
            sheet.put(place, "method.min_lr_ratio", floor)
        elif name == "num_decay_steps" and schedule == "wsd" and steps and value:
            sheet.put(place, "method.decay", value / steps)
        elif name in ("num_stable_steps", "num_warmup_steps") and schedule == "wsd" and steps:
            sheet.same(place, "it follows from the steps of warm-up, of decay and of all")
        elif name in ("decay_type", "warmup_type", "anneal_strategy") and sheet.places[place] in (
            "cosine",
            "cos",
            "linear",
        ):
            sheet.same(place, "the schedule's own shape is taken")
        elif is_off(sheet.places[place]):
            sheet.same(place, "switched off")
        else:
            sheet.refuse(place, f"{name} cannot be given to the schedule {schedule} here")


def _warmup(sheet: Sheet, schedule: str) -> None:
    steps, ratio = sheet.whole("warmup_steps"), sheet.number("warmup_ratio", 0)
    total = sheet.fields.get("method.max_steps")
    if steps is not None and ratio is not None and steps and ratio:
        sheet.refuse("warmup_ratio", "warmup_steps and warmup_ratio exclude each other: Axolotl refuses it too")
    if schedule == "constant":
        sheet.set("method.warmup", 0.0)
        for key in ("warmup_steps", "warmup_ratio"):
            sheet.same(key, "the schedule constant has no warm-up; constant_with_warmup has")
        return
    why = ""
    if steps is not None:
        # A single step of warm-up would begin at the peak: Axolotl makes it two.
        found: float = 2 if steps == 1 else steps
        why = "Axolotl makes one step two" if steps == 1 else ""
    elif ratio is not None:
        if ratio >= 1:
            sheet.refuse("warmup_ratio", f"{ratio:g} must be below 1: a share of all steps")
        found = ratio
    elif total:
        found = min(int(_WARMUP_SHARE * total), _MOST_WARMUP)
        found = 2 if found == 1 else found
    else:
        found = _WARMUP_SHARE
    sheet.set("method.warmup", float(found))
    taken, other = ("warmup_steps", "warmup_ratio") if steps is not None else ("warmup_ratio", "warmup_steps")
    sheet.mapped(taken, "method.warmup", why)
    sheet.same(other, f"{taken} says it")
