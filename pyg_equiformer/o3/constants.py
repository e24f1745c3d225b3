"""Fixed tensors of modules, exact in every precision."""

import torch
from torch import Tensor, nn


class Constants(nn.Module):
    """Holds fixed tensors that stay exact when the module changes precision.

    A buffer of a float32 model that is turned to float64 keeps its rounding error of 1e-8; this module keeps
    float64 masters and refills its (non-persistent) buffers from them after every `.to()`, `.double()`, ….

    Example:
        >>> third = Constants(value=torch.tensor(1 / 3, dtype=torch.float64)).float().double()
        >>> float(third.value) == 1 / 3
        True
    """

    def __init__(self, **values: Tensor) -> None:
        super().__init__()
        self._masters = {name: value.detach().double().cpu() for name, value in values.items()}
        for name, master in self._masters.items():
            self.register_buffer(name, master.to(torch.get_default_dtype()), persistent=False)

    def _apply(self, fn, recurse: bool = True):
        out = super()._apply(fn, recurse)
        for name, master in self._masters.items():
            old = self._buffers[name]
            if old is not None and not old.is_meta:
                self._buffers[name] = master.to(device=old.device, dtype=old.dtype)
        return out
