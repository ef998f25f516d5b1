"""All that a plugin's `plugin.py` needs: `Component` and `hookimpl`.

Standard library and pluggy only: listing plugins must not import numpy, pydantic or torch.
"""

from medseg.plugin.component import Component
from medseg.plugin.hookspecs import hookimpl

__all__ = ["Component", "hookimpl"]
