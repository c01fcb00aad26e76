"""Modules that share a tensor keep it once, so that state dicts have no tensor twice.

The encoder and the decoder of a T5 share the embedding of their tokens.
"""

from torch import Tensor, nn
from torch.func import functional_call


class Borrowed(nn.Module):
    """A module without tensors of its own. It computes with the tensors of another module.

    Args:
        module: the module whose computation is kept.
        owner: the module that keeps the tensors, under the same names.
    """

    def __init__(self, module: nn.Module, owner: nn.Module) -> None:
        super().__init__()
        # In a tuple, the two modules are not children, and their tensors get no second name.
        self._both = module, owner

    def forward(self, *args, **kwargs) -> Tensor:
        module, owner = self._both
        return functional_call(module, dict(owner.named_parameters()), args, kwargs)


def untie(model: nn.Module) -> dict[str, str]:
    """Replace each module whose tensors all have an earlier name by a `Borrowed` one, in place.

    Returns:
        the name that is kept, by each name that is gone.
    """
    first: dict[int, str] = {}
    gone: dict[str, str] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        kept = first.setdefault(id(parameter), name)
        if kept != name:
            gone[name] = kept
    for module in {name.rpartition(".")[0] for name in gone}:
        owner = gone[next(name for name in gone if name.startswith(f"{module}."))]
        parent, _, last = module.rpartition(".")
        borrowed = Borrowed(
            model.get_submodule(module), model.get_submodule(owner.rpartition(".")[0])
        )
        setattr(model.get_submodule(parent), last, borrowed)
    return gone
