"""Results about a network that are kept until the network changes.

What has been found out about a network (its graph, say) takes a hundred times as long
as a forward pass. It is kept with a fingerprint: a hash of all that decides it. That
takes less time than a pass, and notices what PyTorch's version counters do not, such
as weights that are changed through ``.data`` or NumPy.
"""

import hashlib
import pickle
from collections.abc import Callable, Hashable
from types import FunctionType, MethodType
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from torch import nn

from .._compat import global_forward_hooks

Result = TypeVar("Result")

# Kinds of class attributes and global variables on whose content networks may depend.
_CHANGEABLE = (bool, int, float, str, list, dict, set, tuple, np.ndarray, torch.Tensor)


class NetworkMemo:
    """Results about one network, which are forgotten as soon as it changes.

    Copies and pickles of a memo are empty.
    """

    def __init__(self) -> None:
        self._contents: tuple[_Fingerprint, dict[Hashable, Any]] | None = None

    def __reduce__(self):
        return type(self), ()

    def get(
        self, module: nn.Module, key: Hashable, find: Callable[[], Result]
    ) -> Result:
        """The result that was kept under a key, or else the one that `find` returns.

        Parameters
        ----------
        module : torch.nn.Module
            In the mode in which it is going to be run.
        key : hashable
            What the result depends on, besides the network.
        find : callable
        """
        fingerprint = _Fingerprint.of(module)
        if fingerprint is None:
            self._contents = None
            return find()
        if self._contents is None or self._contents[0].digest != fingerprint.digest:
            self._contents = fingerprint, {}
        results = self._contents[1]
        if key not in results:
            found = find()
            # Running the network may have changed it.
            after = _Fingerprint.of(module)
            if after is None or after.digest != fingerprint.digest:
                return found
            results[key] = found
        return results[key]

    def forget(self) -> None:
        """Forget all results."""
        self._contents = None


class _Fingerprint(NamedTuple):
    """Hash of the layers, weights, hooks, modes and code of a network.

    Attributes
    ----------
    digest : bytes
    held : list
        What counts by identity: no other object gets its memory meanwhile.
    """

    digest: bytes
    held: list[Any]

    @classmethod
    def of(cls, module: nn.Module) -> "_Fingerprint | None":
        """The fingerprint of a network, or None if a part of it cannot be hashed."""
        written = _HashingFile()
        pickler = _FingerprintPickler(written)
        try:
            pickler.dump((module, global_forward_hooks()))
        # Pickling runs foreign code, and fails in many ways.
        except Exception:
            return None
        return cls(written.hash.digest(), pickler.held)


class _HashingFile:
    """File that hashes what is written to it."""

    def __init__(self) -> None:
        self.hash = hashlib.sha256()

    def write(self, data) -> None:
        """Hash a part."""
        self.hash.update(data)


class _FingerprintPickler(pickle.Pickler):
    """Pickles layers, tensors and code by their identity and their content.

    Both count: a kept graph shares them with the network.
    """

    def __init__(self, file: _HashingFile) -> None:
        super().__init__(file, protocol=5)
        self._file = file
        self.held: list[Any] = []

    def reducer_override(self, value):
        """Replace layers, tensors and code by what they consist of."""
        if value is _nothing:
            return NotImplemented
        if isinstance(value, torch.Tensor):
            return self._identified(value, self._of_tensor(value))
        if isinstance(value, nn.Module):
            return self._identified(value, (type(value), vars(value)))
        if isinstance(value, FunctionType):
            return self._identified(value, _of_function(value))
        if isinstance(value, MethodType):
            return self._identified(value, (value.__func__, value.__self__))
        if isinstance(value, type):
            return self._identified(value, self._of_class(value))
        return NotImplemented

    def _identified(self, value, parts):
        self.held.append(value)
        # As the state of the reduced value, parts may refer to it.
        return _nothing, (id(value),), parts

    def _of_tensor(self, tensor: torch.Tensor) -> tuple:
        values = tensor.detach()
        if not values.is_contiguous():
            values = values.contiguous()
        content = values.reshape(-1).view(torch.uint8).cpu().numpy()
        self._file.write(content)
        where = tensor.data_ptr(), str(tensor.device), tensor.stride()
        return where, str(tensor.dtype), tuple(tensor.shape), vars(tensor)

    def _of_class(self, value: type) -> tuple:
        if value.__module__.split(".")[0] in ("builtins", "torch"):
            return ()
        attributes = list(vars(value).items())
        self.held += [attribute for _, attribute in attributes]
        contents = {
            name: attribute
            for name, attribute in attributes
            if isinstance(attribute, (*_CHANGEABLE, FunctionType))
            and not name.startswith("__")
        }
        return value.__bases__, [(n, id(a)) for n, a in attributes], contents


def _of_function(function: FunctionType) -> tuple:
    cells = function.__closure__ or ()
    return (
        id(function.__code__),
        function.__defaults__,
        function.__kwdefaults__,
        [cell.cell_contents for cell in cells],
        # Modules, classes and functions count by name.
        {
            name: _content(function.__globals__[name])
            for name in function.__code__.co_names
            if name in function.__globals__
        },
    )


def _content(value: Any) -> Any:
    """Numbers, tensors and containers, which may change in place; else None."""
    return value if isinstance(value, _CHANGEABLE) else None


def _nothing(_identity: int) -> None:
    """Never called, as fingerprints are not loaded."""
