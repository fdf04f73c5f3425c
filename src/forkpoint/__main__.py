"""``python -m forkpoint``."""

import sys

from forkpoint.cli import main

if __name__ == "__main__":
    sys.exit(main())
