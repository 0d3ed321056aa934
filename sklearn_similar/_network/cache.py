"""A folder of trained networks, each under a key of all that decides its weights.

The data, the parameters, the initial weights, the source of the network's code, the
versions of the packages and the number of threads are in the key. Where something that
decides cannot be told (a lambda, a class that was defined in a notebook), nothing is
cached.
"""

import hashlib
import inspect
import json
import os
import platform
import sys
import sysconfig
from collections.abc import Iterator, Mapping
from functools import cache
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import joblib
import numpy as np
import torch
from torch import nn

from .._images.images import Images, batch_slices, n_at_once, n_channels, to_tensor
from .._images.messages import warn_user
from .._saving.archive import read_archive, write_archive
from .activations import eval_mode
from .net import SeededNet
from .net_state import get_arrays
from .training import train_network

# Packages whose versions decide what training computes.
_PACKAGES = ("torch", "skorch", "numpy", "sklearn")
# Images on which the untrained network is run, as its output tells what its code does.
_N_PROBES = 3
# Installed packages are told by their versions, and their files are not read.
_INSTALLED = tuple(
    os.path.realpath(sysconfig.get_path(name))
    for name in ("stdlib", "platstdlib", "purelib", "platlib")
)


class NotCacheable(Exception):
    """Something decides what training gives, and cannot be told by a key."""


def cached_training(
    memory,
    random_state,
    net: SeededNet,
    spec: Mapping[str, Any],
    images: Images,
    y: np.ndarray,
    draws: np.ndarray,
    loss_weights: np.ndarray | None,
) -> tuple[dict[str, np.ndarray], list]:
    """Like `train_network`, but from the cache where the same was trained before.

    Parameters
    ----------
    memory : str, path-like or joblib.Memory, or None
        The cache's folder; None: no cache.
    random_state : int, RandomState or None
        Where the seed came from.
    net, spec, images, y, draws, loss_weights
        As in `train_network`.

    Warns
    -----
    UserWarning
        If the training cannot be cached, or the cache cannot be read or written.
    """
    folder = memory.location if isinstance(memory, joblib.Memory) else memory
    if folder is None:
        return train_network(net, spec, images, y, draws, loss_weights)
    try:
        if random_state is None:
            raise NotCacheable("random_state=None gives another network at every fit")
        key = training_key(net, spec, images, y, draws, loss_weights)
    except NotCacheable as reason:
        warn_user(
            f"memory is not used, as {reason}; training runs as without it.",
        )
        return train_network(net, spec, images, y, draws, loss_weights)
    path = Path(folder) / "sklearn_similar" / f"{key}.safetensors"
    trained = _read(path, net)
    if trained is None:
        trained = train_network(net, spec, images, y, draws, loss_weights)
        _write(path, *trained)
    return trained


def _read(path: Path, net: SeededNet) -> tuple[dict[str, np.ndarray], list] | None:
    """Weights and history in a file; None if there is none that is whole."""
    try:
        arrays, metadata = read_archive(path)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        warn_user(
            f"A trained network in memory cannot be read ({error}); it is trained "
            "again.",
        )
        return None
    expected = {name: (a.shape, a.dtype) for name, a in get_arrays(net).items()}
    found = {name: (a.shape, a.dtype) for name, a in arrays.items()}
    return (arrays, metadata["history"]) if found == expected else None


def _write(path: Path, arrays: dict[str, np.ndarray], history: list) -> None:
    """Write a file, or warn; a full disk costs the cache, not the training."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_archive(path, arrays, {"history": json.loads(json.dumps(history))})
    except (OSError, TypeError, ValueError) as error:
        warn_user(
            f"The trained network cannot be put into memory ({error}); the next fit "
            "trains again.",
        )


def training_key(
    net: SeededNet,
    spec: Mapping[str, Any],
    images: Images,
    y: np.ndarray,
    draws: np.ndarray,
    loss_weights: np.ndarray | None,
) -> str:
    """Name of all that decides the weights after `train_network`.

    Raises
    ------
    NotCacheable
        If something in it has no name.
    """
    parameters = {name: value for name, value in spec.items() if name != "module"}
    module = spec["module"]
    owners = {type(layer) for layer in net.module_.modules()}
    owners |= set(_types_in(spec["net_params"]))
    digest = hashlib.sha256()
    for part in (
        _hash(parameters),
        *(_hash(attributes) for attributes in _attributes(net.module_)),
        "" if module is None or isinstance(module, nn.Module) else _hash(module),
        *_environment(net),
        *_source_of(owners),
        *(f"{name} {_hash(array)}" for name, array in get_arrays(net).items()),
        *_pixels(images, draws),
        _hash(y[draws]),
        _hash(None if loss_weights is None else loss_weights[draws]),
        _hash(_output(net, spec, images, draws)),
    ):
        digest.update(part.encode() + b"\0")
    return digest.hexdigest()


def _hash(value) -> str:
    try:
        return joblib.hash(value)
    # Pickling runs code of others, and fails in as many ways.
    except Exception as error:
        raise NotCacheable(
            f"{value!r:.60} cannot be told from others ({error})"
        ) from error


def _attributes(module: nn.Module) -> Iterator[tuple[str, dict[str, Any]]]:
    """Path and attributes of each layer, but for weights, buffers and layers."""
    for path, layer in module.named_modules():
        yield (
            path,
            {
                name: value.tolist() if torch.is_tensor(value) else value
                for name, value in vars(layer).items()
                if not name.startswith("_") and name != "training"
            },
        )


def _environment(net: SeededNet) -> Iterator[str]:
    """Versions, hardware and settings that decide how numbers are rounded."""
    yield from (f"{name} {import_module(name).__version__}" for name in _PACKAGES)
    yield f"Python {platform.python_version()} {platform.machine()}"
    yield torch.backends.cpu.get_cpu_capability()
    yield f"{torch.get_num_threads()} threads, {torch.get_default_dtype()}"
    yield f"{torch.are_deterministic_algorithms_enabled()}"
    yield f"{torch.get_float32_matmul_precision()} {torch.backends.mkldnn.enabled}"
    device = torch.device(net.device)
    yield torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    yield package_source()


@cache
def package_source() -> str:
    """Hash of this package's own code."""
    root = Path(__file__).parents[1]
    return _hash([path.read_bytes() for path in sorted(root.rglob("*.py"))])


def _types_in(value) -> Iterator[Any]:
    """Classes and functions in nested containers, and the types of what else is."""
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, (list, tuple, set)):
        for item in value:
            yield from _types_in(item)
    elif inspect.isclass(value) or inspect.isroutine(value):
        yield value
    else:
        yield type(value)


def _source_of(owners) -> Iterator[str]:
    """Source and constants of the modules of classes and functions, in order.

    Modules that these import are followed, but for installed ones, which are told by
    their versions.
    """
    modules: dict[str, ModuleType] = {}
    todo: list[ModuleType] = []
    for owner in owners:
        for base in inspect.getmro(owner) if inspect.isclass(owner) else (owner,):
            if "<" in getattr(base, "__qualname__", "<"):
                raise NotCacheable(
                    f"{base!r:.60} is defined inside a function; define it in a file"
                )
            todo.append(_module_of(base))
    while todo:
        module = todo.pop()
        name = module.__name__
        if name in modules or _is_installed(module):
            continue
        modules[name] = module
        for value in list(vars(module).values()):
            if isinstance(value, ModuleType):
                todo.append(value)
            elif inspect.isclass(value) or inspect.isfunction(value):
                todo.append(_module_of(value))
    for name, module in sorted(modules.items()):
        yield f"{name} {_hash(Path(module.__file__ or '').read_bytes())}"
        yield _constants(module)


def _module_of(owner) -> ModuleType:
    name = getattr(owner, "__module__", None) or "builtins"
    module = sys.modules.get(name)
    if module is None:
        raise NotCacheable(f"the module of {owner!r:.60} is not known")
    return module


def _is_installed(module: ModuleType) -> bool:
    name = module.__name__.split(".")[0]
    if name in sys.builtin_module_names or name == __name__.split(".")[0]:
        return True
    path = getattr(module, "__file__", None)
    if path is None:
        if module.__name__ == "__main__":
            raise NotCacheable("the network's code is in no file")
        return True
    return os.path.realpath(path).startswith(_INSTALLED)


def _constants(module: ModuleType) -> str:
    """Values of plain constants, which a program may have changed since the import."""
    plain = (bool, int, float, str, bytes, tuple, type(None))
    scopes = [module, *(v for v in vars(module).values() if inspect.isclass(v))]
    return repr(
        sorted(
            (getattr(scope, "__qualname__", ""), name, repr(value))
            for scope in scopes
            for name, value in vars(scope).items()
            if isinstance(value, plain) and not name.startswith("__")
        )
    )


def _pixels(images: Images, training: np.ndarray) -> Iterator[str]:
    digest = hashlib.sha256()
    for part in batch_slices(len(training), n_at_once(images.pixels[0])):
        digest.update(np.ascontiguousarray(images.select(training[part])).tobytes())
    yield f"{images.dtype.str} {images.pixels[0].shape} {len(training)}"
    yield digest.hexdigest()


def _output(
    net: SeededNet, spec: Mapping[str, Any], images: Images, training: np.ndarray
) -> np.ndarray:
    """Output of the untrained network for a few images."""
    pixels = images.select(training[:_N_PROBES])
    channels = n_channels(spec["image_shape"])
    batch = to_tensor(pixels, channels, net.memory_format).to(net.device)
    with eval_mode(net.module_) as module:
        return module(batch).numpy(force=True)
