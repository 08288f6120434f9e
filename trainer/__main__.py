"""`python -m trainer VERB ...`: what runs on compute nodes, and what on a login node needs the training stack."""

import atexit
import os
import sys
from importlib import import_module

VERBS = {
    "agent": "run one node of a job: start its workers, see them end (jobs start this; you do not)",
    "aftermath": "settle how an attempt ended whose agents could not (jobs start this)",
    "worker": "train on one device (the agent starts this)",
    "prepare": "convert weights and tokenise data of a run into the store",
    "stage": "the same for a machine without a network, with a record of every file",
    "show-data": "print prepared rows token by token with their labels",
    "chat": "talk to what a run has trained",
}


def usage() -> str:
    """The help text."""
    width = max(map(len, VERBS))
    lines = [f"  {verb:<{width}}  {what}" for verb, what in VERBS.items()]
    return "usage: python -m trainer VERB RUN [ARGS]\n\nRUN is a run folder.\n\n" + "\n".join(lines)


def main(argv: list[str]) -> int:
    """Hand over to the verb's module, which alone is imported. Returns an exit code."""
    if not argv:
        print(usage(), file=sys.stderr)
        return 2
    verb, arguments = argv[0], argv[1:]
    if verb in ("-h", "--help", "help"):
        print(usage())
        return 0
    if verb not in VERBS:
        from conf.schema.problems import did_you_mean

        print(f"trainer has no verb {verb!r}: {did_you_mean(verb, VERBS)}", file=sys.stderr)
        return 2
    if verb in ("worker", "prepare", "stage"):
        from trainer.lifeline import follow_agent

        follow_agent()
    code: int = import_module(f"trainer.{verb.replace('-', '_')}").main(arguments)
    return code


def worker(argv: list[str]) -> None:
    """Be a worker to the end of the process, without taking the interpreter apart.

    One that is done has closed and synced all that it wrote, and others wait for it in a grace. In one that has failed
    threads of the process group may still run, and an interpreter that ends under them aborts: the cause that the agent
    would tell were SIGABRT, not what went wrong."""
    try:
        code = main(argv)
    except Exception:  # as the interpreter would: told, and an exit code
        sys.excepthook(*sys.exc_info())  # torch has set one that marks the lines with the rank
        code = 1
    if code:
        atexit._run_exitfuncs()  # what others have registered: an online tracker says there that the run has failed
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    if sys.argv[1:2] == ["worker"]:
        worker(sys.argv[1:])
    sys.exit(main(sys.argv[1:]))
