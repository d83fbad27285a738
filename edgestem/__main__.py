"""Where `edgestem` and `python -m edgestem` begin: signals first, then the rest."""

import sys

from edgestem import heap
from edgestem.cli import interrupts


def main() -> int:
    """Run the command line; a signal that comes while it loads is obeyed, too."""
    interrupts.leave_early()
    heap.keep_small()
    from edgestem.cli.main import main as run

    return run()


if __name__ == "__main__":
    sys.exit(main())
