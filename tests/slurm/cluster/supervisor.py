"""The process that a cluster hangs on: it holds the head, watches the owner, and cleans up when the owner is gone.

It runs in a session of its own, so nothing that happens to the owner's terminal reaches it. When it is killed itself,
the head and all in it die with it (parent-death signal), and `down` removes the rest.
"""

import argparse
import select
import subprocess
import threading
from pathlib import Path

from .layout import Layout
from .machine import init_command
from .teardown import tear_down


def main() -> None:
    """Hold the head until it dies or, with an owner, until the owner does."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--owner", type=int, metavar="PIDFD")
    parser.add_argument("marks", nargs=4)
    arguments = parser.parse_args()
    layout = Layout(arguments.marks[1], Path(arguments.marks[2]))
    # The death signal comes when the thread that started the head ends, hence from the main thread.
    head = subprocess.Popen(["setpriv", "--pdeathsig", "KILL", *init_command(layout, "head")])
    if arguments.owner is None:
        head.wait()
        return
    threading.Thread(target=head.wait, daemon=True).start()
    select.select([arguments.owner], [], [])
    tear_down(layout)


if __name__ == "__main__":
    main()
