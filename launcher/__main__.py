"""`python -m launcher`."""

import os
import sys

from launcher import ROOT

if __name__ == "__main__":
    # `python -m` puts the current folder first: a yaml.py or rich.py that lies there must not be taken for ours.
    if sys.path and sys.path[0] == os.getcwd() != str(ROOT) and not sys.flags.safe_path:
        del sys.path[0]
    from launcher.cli import main

    sys.exit(main())
