"""`python -m edgestem`: the command line."""

import sys

from edgestem.cli import main

sys.exit(main())
