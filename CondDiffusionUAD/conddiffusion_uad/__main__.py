"""`python -m conddiffusion_uad`: the command line."""

import sys

if __name__ == "__main__":
    try:
        from conddiffusion_uad.app.cli import program

        program()
    except KeyboardInterrupt:  # before the command line could take it, or after
        sys.exit(130)
