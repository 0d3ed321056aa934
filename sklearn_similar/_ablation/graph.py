"""The traced graph of a network, and the part of it that depends on a layer."""

import copy
import operator
import threading
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import torch
from sklearn.exceptions import EfficiencyWarning
from torch import fx, nn

from .._compat import is_out_of_memory
from .._images.messages import warn_user
from .._network.forward import first_line, has_foreign_hooks
from .observed_run import ObservedRun, make_out_of_place, watch_network

# Tracing replaces methods of `torch.nn.Module` for all threads, and puts them back in
# the wrong order if two traces overlap.
_tracing = threading.Lock()
# Prefix of the names of the copy's submodules in its owner.
_PREFIX = "network."


class NotTraceable(Exception):
    """The network's graph cannot be used; the network can only be run as a whole."""


@dataclass(frozen=True)
class LayerGraph:
    """A network's traced operations, and those that depend on a layer.

    Attributes
    ----------
    module : torch.nn.Module
        The network.
    root : torch.nn.Module
        Owner of a copy of the network, which shares its weights.
    operations : torch.fx.Graph
        The whole network, without operations that overwrite their input.
    images, activations, output : torch.fx.Node
        The network's input, the layer's output, and the network's output.
    n_values : dict of torch.fx.Node to int
        Number of values for each image in each node that holds tensors.
    tensors : frozenset of torch.fx.Node
        Nodes that hold a single tensor.
    dependent : frozenset of torch.fx.Node
        The activations and all tensors that are computed from them.
    """

    module: nn.Module
    root: nn.Module
    operations: fx.Graph
    images: fx.Node
    activations: fx.Node
    output: fx.Node
    n_values: dict[fx.Node, int]
    tensors: frozenset[fx.Node]
    dependent: frozenset[fx.Node]

    @classmethod
    def trace(cls, module: nn.Module, layer: str, images: torch.Tensor) -> "LayerGraph":
        """Trace a network in evaluation mode.

        Parameters
        ----------
        module : torch.nn.Module
        layer : str
        images : tensor of shape (n_images, n_channels, height, width)
            A few images, on which the graph and the network are compared.

        Raises
        ------
        NotTraceable
            If the graph does not show everything that the network does, or the layer is
            not one operation in it.
        """
        # Hooks run on placeholders, which they could store, or later in the graph.
        if has_foreign_hooks(module):
            raise NotTraceable
        root, operations = _trace(module, layer)
        activations = _layer_node(operations, layer)
        run = _run(root, operations, images)
        # Python code can tell placeholders from tensors, and do something else.
        if run.reads_values() or run.operations != watch_network(module, images):
            raise NotTraceable
        n_nodes = len(operations.nodes)
        if not make_out_of_place(run, operations, activations):
            raise NotTraceable
        if len(operations.nodes) > n_nodes:
            run = _run(root, operations, images)
        if run.overwrites_values():
            raise NotTraceable
        n_values = run.n_values()
        dependent = _dependents(operations, activations, n_values)
        first, *_, end = operations.nodes
        output = end.args[0]
        if output not in dependent:
            raise NotTraceable
        return cls(
            module=module,
            root=root,
            operations=operations,
            images=first,
            activations=activations,
            output=output,
            n_values=n_values,
            tensors=run.tensors(),
            dependent=dependent,
        )

    def path_of(self, node: fx.Node) -> str:
        """The path in the network of the submodule that a node calls."""
        return str(node.target).removeprefix(_PREFIX)

    def constants_of(self, inputs, nodes) -> list[fx.Node]:
        """Values that some nodes need in addition to inputs, in the graph's order."""
        inside = {*inputs, *nodes}
        for node in self.operations.nodes:
            # Shapes are computed again, as the number of images may differ.
            if node not in self.n_values and inside.issuperset(node.all_input_nodes):
                inside.add(node)
        inner = inside.difference(inputs)
        needed = {source for node in inner for source in node.all_input_nodes}
        return [node for node in self.operations.nodes if node in needed - inside]

    def bypasses(self) -> list[fx.Node]:
        """Values from elsewhere that the operations after the activations need."""
        start = [self.activations]
        return self.constants_of(start, self.dependent.difference(start))

    def recorded_at(self, node: fx.Node) -> tuple[str, str] | None:
        """Which submodule's input or output holds a node's value in a forward pass.

        Returns
        -------
        ({"input", "output"}, str) or None
            With the path of a submodule that runs once.
        """
        if node not in self.tensors:
            return None
        n_runs = Counter(n.target for n in self.operations.nodes)
        for kind, caller in (("output", node), *(("input", n) for n in node.users)):
            is_module = caller.op == "call_module" and n_runs[caller.target] == 1
            if is_module and (kind == "output" or caller.args[:1] == (node,)):
                return kind, self.path_of(caller)
        return None

    def part(self, inputs, outputs) -> fx.GraphModule:
        """The part of the network from some nodes' values to a tuple of others'."""
        graph = fx.Graph()
        copies = {node: graph.placeholder(node.name) for node in inputs}
        wanted = set(outputs)
        for node in reversed(self.operations.nodes):
            if node in wanted and node not in copies:
                wanted.update(node.all_input_nodes)
        for node in self.operations.nodes:
            if node in wanted and node not in copies:
                copies[node] = graph.node_copy(node, copies.__getitem__)
        graph.output(tuple(copies[node] for node in outputs))
        return fx.GraphModule(self.root, graph)


def _layer_node(operations: fx.Graph, layer: str) -> fx.Node:
    """The node of a layer, which has to run once; the graph has to end in a tensor."""
    layers = [
        node
        for node in operations.nodes
        if node.op == "call_module" and node.target == f"{_PREFIX}{layer}"
    ]
    *_, end = operations.nodes
    if len(layers) != 1 or not isinstance(end.args[0], fx.Node):
        raise NotTraceable
    return layers[0]


def _dependents(
    operations: fx.Graph, activations: fx.Node, n_values: Mapping[fx.Node, int]
) -> frozenset[fx.Node]:
    """The activations and all tensors that are computed from them.

    Nodes without tensors, such as shapes, do not depend on the activations.
    """
    dependent = {activations}
    for node in operations.nodes:
        is_tensor = node.op != "output" and node in n_values
        if is_tensor and dependent.intersection(node.all_input_nodes):
            dependent.add(node)
    return frozenset(dependent)


def _trace(module: nn.Module, layer: str) -> tuple[nn.Module, fx.Graph]:
    """A copy of a network, and the graph of its operations."""
    # Tracing leaves placeholders in attributes that the network sets, so that a copy is
    # traced, which shares all weights.
    tensors = [*module.parameters(), *module.buffers()]
    try:
        root = _OneArgument(copy.deepcopy(module, {id(t): t for t in tensors}))
        # Ctrl-C comes to the main thread alone. In the middle of a trace, it could
        # leave PyTorch's classes patched.
        with ThreadPoolExecutor(max_workers=1) as executor:
            traced = executor.submit(_trace_operations, root, f"{_PREFIX}{layer}")
            return root, traced.result()
    except fx.proxy.TraceError as error:
        # The network's Python code depends on values, which is allowed.
        raise NotTraceable from error
    # The user's code runs on placeholders, and may fail with any exception.
    except Exception as error:
        if is_out_of_memory(error):
            raise
        warn_user(
            f"The network cannot be traced ({type(error).__name__}: "
            f"{first_line(error)}), so the whole network is run for each filter: the "
            "importances are the same, but take longer.",
            EfficiencyWarning,
        )
        raise NotTraceable from error


def _trace_operations(root: nn.Module, layer: str) -> fx.Graph:
    with _tracing, torch.no_grad():
        return _LayerTracer(layer).trace(root)


def _run(root: nn.Module, operations: fx.Graph, images: torch.Tensor) -> ObservedRun:
    try:
        return ObservedRun(root, operations, images)
    # On placeholders, the network took a branch that fails with tensors.
    except Exception as error:
        if is_out_of_memory(error):
            raise
        raise NotTraceable from error


class _OneArgument(nn.Module):
    """A network called with images; its other arguments keep their defaults."""

    def __init__(self, module: nn.Module):
        super().__init__()
        self.network = module
        self.training = module.training

    def forward(self, images):
        return self.network(images)


class Proxy(fx.Proxy):
    """Placeholder on which ``x += y`` overwrites x, as on tensors."""


def _overwriting(operation):
    def overwrite(self, other):
        return self.tracer.create_proxy("call_function", operation, (self, other), {})

    return overwrite


for _operation in (
    operator.iadd,
    operator.iand,
    operator.ifloordiv,
    operator.imod,
    operator.imul,
    operator.ior,
    operator.ipow,
    operator.isub,
    operator.itruediv,
    operator.ixor,
):
    setattr(Proxy, f"__{_operation.__name__}__", _overwriting(_operation))


class _LayerTracer(fx.Tracer):
    """Tracer that records a layer as one operation, even if it is a whole block."""

    def __init__(self, layer: str):
        super().__init__()
        self.layer = layer
        self.thread = threading.get_ident()

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return module_qualified_name == self.layer or super().is_leaf_module(
            m, module_qualified_name
        )

    def proxy(self, node: fx.Node) -> fx.Proxy:
        return Proxy(node, self)

    # Other threads that run a network meanwhile also call these methods.
    def call_module(self, m, forward, args, kwargs):
        if threading.get_ident() != self.thread:
            return forward(*args, **kwargs)
        return super().call_module(m, forward, args, kwargs)

    def getattr(self, attr, attr_val, parameter_proxy_cache):
        if threading.get_ident() != self.thread:
            return attr_val
        return super().getattr(attr, attr_val, parameter_proxy_cache)
