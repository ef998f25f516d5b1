"""A script."""

raise SystemExit
