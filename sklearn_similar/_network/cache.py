"""A folder of trained networks, each under the hash of all that decides its weights.

The hash includes code: the versions of packages, and the source of the classes and
functions that a network and its parameters consist of.
"""

import hashlib
import inspect
import json
import platform
import sys
from collections.abc import Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any
from uuid import uuid4

import joblib
import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file
from torch import nn

from .. import __version__
from .._images.images import Images, batch_slices, n_at_once
from .._images.messages import warn_user
from .net import SeededNet
from .specification import NetSpecification
from .training import TrainingData, train_network

# Packages that train a network: their code is told by their versions.
_PACKAGES = ("torch", "skorch", "numpy", "sklearn")
_KNOWN_CODE = {*_PACKAGES, __name__.split(".")[0], *sys.stdlib_module_names}


class NotCacheable(Exception):
    """Something that decides the weights cannot be hashed."""


def cached_training(
    memory,
    random_state,
    net: SeededNet,
    specification: NetSpecification,
    data: TrainingData,
) -> tuple[dict[str, np.ndarray], list]:
    """Like `train_network`, but from the cache where the same net was trained before.

    Parameters
    ----------
    memory : str, path-like or joblib.Memory, or None
        Folder of the cache; None: no cache.
    random_state : int, RandomState or None
        Source of the specification's seed.
    net, specification, data
        As in `train_network`.

    Warns
    -----
    UserWarning
        If the training cannot be cached, or the cache cannot be read or written.
    """
    folder = memory.location if isinstance(memory, joblib.Memory) else memory
    if folder is None:
        return train_network(net, specification, data)
    try:
        if random_state is None:
            raise NotCacheable("random_state=None gives another network at every fit")
        key = training_key(net, specification, data)
    except NotCacheable as reason:
        warn_user(f"memory is not used, as {reason}; training runs as without it.")
        return train_network(net, specification, data)
    path = Path(folder) / "sklearn_similar" / f"{key}.safetensors"
    trained = _read(path)
    if trained is None:
        trained = train_network(net, specification, data)
        _write(path, *trained)
    return trained


def _read(path: Path) -> tuple[dict[str, np.ndarray], list] | None:
    """Weights and history in a file; None, with a warning, if it is damaged."""
    if not path.exists():
        return None
    try:
        with safe_open(path, "numpy") as file:
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            metadata = file.metadata() or {}
        if metadata["hash"] != _content_hash(arrays, metadata["history"]):
            raise ValueError("its content is damaged")
        history = json.loads(metadata["history"])
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        warn_user(
            f"A trained network in memory cannot be read ({error}); it is trained "
            "again."
        )
        return None
    return arrays, history


def _write(path: Path, arrays: dict[str, np.ndarray], history: list) -> None:
    """Write a file, or warn; a full disk does not cost the training."""
    # Another process may read or write the same file meanwhile.
    temporary = path.with_name(f"{path.stem}.{uuid4().hex}")
    try:
        text = json.dumps(history)
        metadata = {"history": text, "hash": _content_hash(arrays, text)}
        path.parent.mkdir(parents=True, exist_ok=True)
        # safetensors 0.8 writes transposed arrays in the wrong order.
        dense = {name: np.asarray(values, order="C") for name, values in arrays.items()}
        save_file(dense, temporary, metadata)
        temporary.replace(path)
    except (OSError, TypeError, ValueError, SafetensorError) as error:
        temporary.unlink(missing_ok=True)
        warn_user(
            f"The trained network cannot be put into memory ({error}); the next fit "
            "trains again."
        )


def _content_hash(arrays: Mapping[str, np.ndarray], history: str) -> str:
    digest = hashlib.sha256(history.encode())
    for name, array in sorted(arrays.items()):
        digest.update(f"{name} {array.dtype} {array.shape}".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def training_key(
    net: SeededNet, specification: NetSpecification, data: TrainingData
) -> str:
    """Hash of all that decides the weights after `train_network`.

    Raises
    ------
    NotCacheable
        If something that decides them cannot be hashed.
    """
    parameters = dict(vars(specification))
    if isinstance(specification.module, nn.Module):
        # The weights and attributes of its copy in the net stand for it.
        del parameters["module"]
    owners = [type(layer) for layer in net.module_.modules()]
    owners += [specification.module, *_objects_in(specification.net_params)]
    sources = _sources(owners)
    # Each is hashed by itself, as a hash depends on which objects are the same.
    return _hash(
        (
            sources,
            {name: _hash(value) for name, value in parameters.items()},
            [_hash(_attributes(layer)) for layer in net.module_.modules()],
            net.arrays(),
            _pixel_hash(data.images, data.sampling_indices),
            data.epoch_labels,
            data.epoch_weights,
            list(_environment(net)),
        )
    )


def _hash(value) -> str:
    try:
        return joblib.hash(value)
    # Pickling runs foreign code, and fails in many ways.
    except Exception as error:
        raise NotCacheable(f"a parameter cannot be hashed ({error})") from error


def _attributes(layer: nn.Module) -> dict[str, Any]:
    """Attributes of a layer, except weights, buffers and layers."""
    return {
        name: value.tolist() if torch.is_tensor(value) else value
        for name, value in vars(layer).items()
        if not name.startswith("_") and name != "training"
    }


def _objects_in(value) -> Iterator[Any]:
    """Objects in nested containers."""
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, (list, tuple, set)):
        for item in value:
            yield from _objects_in(item)
    else:
        yield value


def _sources(objects: list) -> dict[str, str]:
    """Source of classes and functions, or of the objects' classes, by their names."""
    sources = {}
    for value in objects:
        is_code = inspect.isclass(value) or inspect.isroutine(value)
        code = value if is_code else type(value)
        for owner in inspect.getmro(code) if inspect.isclass(code) else [code]:
            module = getattr(owner, "__module__", None) or "builtins"
            if module.split(".")[0] in _KNOWN_CODE:
                continue
            if "<" in owner.__qualname__:
                raise NotCacheable(
                    f"{owner!r:.60} is defined inside a function; define it in a file"
                )
            try:
                source = inspect.getsource(owner)
            except (OSError, TypeError) as error:
                raise NotCacheable(f"the source of {owner!r:.60} is unknown") from error
            package = sys.modules.get(module.split(".")[0])
            version = getattr(package, "__version__", "")
            sources[f"{module}.{owner.__qualname__}"] = f"{version} {source}"
    return sources


def _environment(net: SeededNet) -> Iterator[str]:
    """Versions, hardware and settings on which rounding depends."""
    yield f"sklearn_similar {__version__}"
    yield from (f"{name} {import_module(name).__version__}" for name in _PACKAGES)
    yield f"Python {platform.python_version()} {platform.machine()}"
    yield torch.backends.cpu.get_cpu_capability()
    yield f"{torch.get_num_threads()} threads, {torch.get_default_dtype()}"
    yield f"{torch.are_deterministic_algorithms_enabled()}"
    yield f"{torch.get_float32_matmul_precision()} {torch.backends.mkldnn.enabled}"
    device = torch.device(net.device)
    yield torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def _pixel_hash(images: Images, indices: np.ndarray) -> str:
    shape, limits = images.pixels[0].shape, images.scaling.limits(images.dtype)
    text = f"{images.dtype.str} {shape} {limits} {images.scaling.clips(images.dtype)}"
    digest = hashlib.sha256(text.encode())
    for part in batch_slices(len(indices), n_at_once(images.pixels[0].shape)):
        digest.update(np.ascontiguousarray(images.select(indices[part])).tobytes())
    return digest.hexdigest()
