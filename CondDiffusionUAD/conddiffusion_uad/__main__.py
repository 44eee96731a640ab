"""`python -m conddiffusion_uad`: the command line."""

import sys

from conddiffusion_uad.cli import main

if __name__ == "__main__":
    sys.exit(main())
