"""Atomic electron tomography with one differentiable forward model; every inverse problem is its gradient.

The public names are listed in `__init__.pyi`. Each is imported when it is first used, so `import jaxaet` costs
nothing and an optional package is missed only by what needs it.
"""

import lazy_loader

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
