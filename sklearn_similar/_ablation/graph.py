"""The traced graph of a network, seen from one layer."""

import copy
import threading
from dataclasses import dataclass

import torch
from torch import fx, nn

from .._compat import tree_leaves

# Tracing replaces methods of `torch.nn.Module` for all threads, and puts them back in
# the wrong order if two traces overlap.
_tracing = threading.Lock()


class NotTraceable(Exception):
    """The network's graph cannot be used; it can only be run as a whole."""


@dataclass(frozen=True)
class LayerGraph:
    """A network's traced operations, seen from a layer.

    Attributes
    ----------
    root : torch.nn.Module
        Owner of the network.
    operations : torch.fx.Graph
        All of the network, with no operation that overwrites its input.
    images, activations, output : torch.fx.Node
        The network's input, the layer's output, and what the network returns.
    n_values : dict of torch.fx.Node to int
        Values for an image in each node that holds tensors, not shapes and the like.
    dependent : frozenset of torch.fx.Node
        The activations and all tensors that are computed from them.
    """

    root: nn.Module
    operations: fx.Graph
    images: fx.Node
    activations: fx.Node
    output: fx.Node
    n_values: dict[fx.Node, int]
    dependent: frozenset[fx.Node]

    @classmethod
    def trace(cls, module: nn.Module, layer: str, images: torch.Tensor) -> "LayerGraph":
        """Trace a network in evaluation mode.

        Raises
        ------
        NotTraceable
            If its Python code depends on values, or the layer is not one operation.
        """
        try:
            # Tracing leaves placeholders in attributes that the network sets; the copy
            # shares all weights.
            tensors = [*module.parameters(), *module.buffers()]
            root = _OneArgument(copy.deepcopy(module, {id(t): t for t in tensors}))
            with _tracing:
                operations = _LayerTracer(f"module.{layer}").trace(root)
            _make_out_of_place(root, operations)
            counter = _ValueCounter(root, graph=operations)
            counter.run(images[:1])
        # Tracing runs the user's code on placeholders, where anything can fail.
        except Exception as error:
            raise NotTraceable from error
        nodes = list(operations.nodes)
        start, end = nodes[0], nodes[-1].args[0]
        layers = [
            node
            for node in nodes
            if node.op == "call_module" and node.target == f"module.{layer}"
        ]
        if len(layers) != 1 or not isinstance(end, fx.Node):
            raise NotTraceable
        dependent = set(layers)
        for node in nodes[:-1]:
            # Shapes and the like do not depend on the activations.
            if node in counter.n_values and dependent.intersection(
                node.all_input_nodes
            ):
                dependent.add(node)
        if end not in dependent:
            raise NotTraceable
        return cls(
            root=root,
            operations=operations,
            images=start,
            activations=layers[0],
            output=end,
            n_values=counter.n_values,
            dependent=frozenset(dependent),
        )

    def constants_of(self, inputs, nodes) -> list[fx.Node]:
        """Values that some nodes need besides their inputs, in the graph's order."""
        inside = {*inputs, *nodes}
        for node in self.operations.nodes:
            # Shapes are read off again, as the number of images may differ.
            if node not in self.n_values and inside.issuperset(node.all_input_nodes):
                inside.add(node)
        inner = inside.difference(inputs)
        needed = {given for node in inner for given in node.all_input_nodes}
        return [node for node in self.operations.nodes if node in needed - inside]

    def part(self, inputs, outputs) -> fx.GraphModule:
        """The network between some nodes: their values in, a tuple of values out."""
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


class _OneArgument(nn.Module):
    """A network called with images alone; its other arguments keep their defaults."""

    def __init__(self, module: nn.Module):
        super().__init__()
        self.module = module
        self.training = module.training

    def forward(self, images):
        return self.module(images)


class _LayerTracer(fx.Tracer):
    """Tracer for which the layer is one operation, also when it is a whole block."""

    def __init__(self, layer: str):
        super().__init__()
        self.layer = layer
        self.owner = threading.get_ident()

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return module_qualified_name == self.layer or super().is_leaf_module(
            m, module_qualified_name
        )

    # Other threads that run a network meanwhile come here too, and just run it.
    def call_module(self, m, forward, args, kwargs):
        if threading.get_ident() != self.owner:
            return forward(*args, **kwargs)
        return super().call_module(m, forward, args, kwargs)

    def getattr(self, attr, attr_val, parameter_proxy_cache):
        if threading.get_ident() != self.owner:
            return attr_val
        return super().getattr(attr, attr_val, parameter_proxy_cache)


class _ValueCounter(fx.Interpreter):
    """Runs a network, and counts the values in the nodes that hold tensors."""

    def __init__(self, module, **options):
        super().__init__(module, **options)
        self.n_values = {}

    def run_node(self, n: fx.Node):
        value = super().run_node(n)
        tensors = [t for t in tree_leaves(value) if isinstance(t, torch.Tensor)]
        if tensors:
            self.n_values[n] = sum(tensor.numel() for tensor in tensors)
        return value


def _make_out_of_place(root: nn.Module, graph: fx.Graph) -> None:
    """Let operations that overwrite a tensor write to a copy."""
    order = {node: position for position, node in enumerate(graph.nodes)}
    for node in list(order):
        if not _is_in_place(root, node):
            continue
        overwritten = node.args[0]
        # Later uses of the overwritten tensor read the new values.
        overwritten.replace_all_uses_with(
            node, delete_user_cb=lambda user, node=node: order[user] > order[node]
        )
        with graph.inserting_before(node):
            copied = graph.call_method("clone", (overwritten,))
        order[copied] = order[node]
        node.args = (copied, *node.args[1:])


def _is_in_place(root: nn.Module, node: fx.Node) -> bool:
    if not node.args or not isinstance(node.args[0], fx.Node):
        return False
    if node.op == "call_module":
        return bool(getattr(root.get_submodule(str(node.target)), "inplace", False))
    name = getattr(node.target, "__name__", str(node.target))
    return (
        bool(node.kwargs.get("inplace"))
        or (name.endswith("_") and not name.endswith("__"))
        or (node.op == "call_function" and name in ("iadd", "imul", "isub", "itruediv"))
    )
