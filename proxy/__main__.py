"""`python -m proxy`: the same as `imgmirror`."""

import sys

from proxy.cli import main

if __name__ == "__main__":  # render processes and workers import this module again under another name
    sys.exit(main())
