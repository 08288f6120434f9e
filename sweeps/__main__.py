"""`python -m sweeps`."""

import os
import sys

from launcher import ROOT

if __name__ == "__main__":
    # As in launcher: what lies in the current folder must not be taken for ours.
    if sys.path and sys.path[0] == os.getcwd() != str(ROOT) and not sys.flags.safe_path:
        del sys.path[0]
    from sweeps.cli import main

    sys.exit(main())
