"""How an interrupted run goes on at a site: what its file says, else what the probe has found, else not known."""

from conf.folder import GoesOn
from conf.schema.run import RunConfig
from launcher.slurm.facts import SiteFacts

IN_WORDS: dict[GoesOn, str] = {
    "requeue": "after an interruption as the same job (requeue)",
    "singleton chain": "after an interruption in another job of its name (singleton chain): no requeues here",
    "not known": "after an interruption as the same job or, where that is refused, in another of its name; "
    "`python -m launcher doctor --from-node` finds out",
}
"""For the plan."""


def goes_on(config: RunConfig, facts: SiteFacts | None) -> GoesOn:
    """How this run goes on, by what is known of the site."""
    allowed = config.site.requeue
    if allowed is None:
        allowed = None if facts is None else facts.requeue
    if allowed is None:
        return "not known"
    return "requeue" if allowed else "singleton chain"
