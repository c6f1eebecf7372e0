"""``python -m photospec`` is the command line ``photospec``."""

import sys

from photospec.cli import main

if __name__ == "__main__":
    sys.exit(main())
