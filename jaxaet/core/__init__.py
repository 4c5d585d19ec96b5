"""Units, grids, rotations, data on grids. Knows no physics."""

import lazy_loader

# Lazy, so that the command line can check a configuration and say what is wrong without waiting for JAX.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
