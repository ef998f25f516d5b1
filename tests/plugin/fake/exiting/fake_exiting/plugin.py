"""A script that was never meant to be imported."""

import sys

sys.exit(0)
