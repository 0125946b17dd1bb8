"""`python -m metalab`: the command line of metalab.cli."""

import sys

from metalab.cli import main

if __name__ == "__main__":
    sys.exit(main())
