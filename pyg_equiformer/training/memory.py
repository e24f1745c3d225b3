"""The C allocator during training."""

import ctypes
import sys

#: Parameters of glibc's `mallopt`, from malloc.h.
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD = -1, -2, -3


def keep_freed_memory() -> bool:
    """Have the C library keep freed memory for the next tensor, and tell whether that was possible.

    By default glibc returns large blocks to the system at once, and every training step then waits for the
    system to hand out and clear the same pages again: a few per cent of a step on small batches, up to a third
    on large ones. The process keeps the memory of its largest step until it ends. Only Linux with glibc has
    this; elsewhere nothing happens.

    Example:
        >>> keep_freed_memory() in (True, False)
        True
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    settings = ((_M_MMAP_THRESHOLD, 2**25), (_M_TRIM_THRESHOLD, 2**31 - 1), (_M_TOP_PAD, 2**26))
    return all(mallopt(name, value) == 1 for name, value in settings)
