"""Makes `python -m proxy` run the same command as `imgmirror`. Blocking."""

import sys

from proxy.cli import main

if __name__ == "__main__":  # off Linux, workers import this module again under another name
    sys.exit(main())
