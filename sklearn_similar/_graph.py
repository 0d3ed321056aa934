"""The graph of a network around one layer: what follows the layer, and how."""

from dataclasses import dataclass, field

import torch
from torch import fx, nn


class NotTraceable(Exception):
    """The network's graph cannot be used; it can only be run as a whole."""


@dataclass
class LayerGraph:
    """A network's traced operations, seen from a layer.

    Attributes
    ----------
    traced : torch.fx.GraphModule
        The network, with no operation that overwrites its input.
    images, responses, output : torch.fx.Node
        The network's input, the layer's output, and what the network returns.
    dependent : set of torch.fx.Node
        The responses and all that is computed from them, but for shapes.
    """

    traced: fx.GraphModule
    images: fx.Node
    responses: fx.Node
    output: fx.Node
    dependent: set[fx.Node] = field(default_factory=set)

    @classmethod
    def trace(cls, module: nn.Module, layer: str, images: torch.Tensor) -> "LayerGraph":
        """Trace a network in evaluation mode.

        Raises
        ------
        NotTraceable
            If its Python code depends on values, or the layer is not one operation.
        """
        tracer = _LayerTracer(layer)
        try:
            traced = fx.GraphModule(module, tracer.trace(module))
            _make_out_of_place(traced)
            values = run(traced, {}, images)
        # Tracing runs the user's code on placeholders, where anything can fail.
        except Exception as error:
            raise NotTraceable from error
        nodes = list(traced.graph.nodes)
        starts = [node for node in nodes if node.op == "placeholder"]
        layers = [n for n in nodes if n.op == "call_module" and n.target == layer]
        end = nodes[-1].args[0]
        if len(layers) != 1 or not isinstance(end, fx.Node):
            raise NotTraceable
        graph = cls(traced, starts[0], layers[0], end, {layers[0]})
        for node in nodes:
            # Shapes and the like are the same whatever the responses are.
            if _holds_tensor(values.get(node)) and graph.dependent.intersection(
                node.all_input_nodes
            ):
                graph.dependent.add(node)
        if end not in graph.dependent:
            raise NotTraceable
        return graph

    def constants_of(self, nodes) -> list[fx.Node]:
        """What some nodes need and no response changes, in the graph's order."""
        needed = {given for node in nodes for given in node.all_input_nodes}
        return [n for n in self.traced.graph.nodes if n in needed - self.dependent]

    def part(self, inputs, outputs) -> fx.GraphModule:
        """The network between some nodes: their values in, a tuple of values out."""
        graph = fx.Graph()
        copies = {node: graph.placeholder(node.name) for node in inputs}
        wanted = set(outputs)
        for node in reversed(self.traced.graph.nodes):
            if node in wanted and node not in copies:
                wanted.update(node.all_input_nodes)
        for node in self.traced.graph.nodes:
            if node in wanted and node not in copies:
                copies[node] = graph.node_copy(node, copies.__getitem__)
        graph.output(tuple(copies[node] for node in outputs))
        return fx.GraphModule(self.traced, graph)


def run(traced: fx.GraphModule, known: dict, *images: torch.Tensor) -> dict:
    """The value of each node, some of them known."""
    values = dict(known)
    fx.Interpreter(traced, garbage_collect_values=False).run(
        *images, initial_env=values, enable_io_processing=False
    )
    return values


def _holds_tensor(value) -> bool:
    if isinstance(value, (tuple, list)):
        return any(_holds_tensor(part) for part in value)
    return isinstance(value, torch.Tensor)


class _LayerTracer(fx.Tracer):
    """Tracer for which the layer is one operation, also when it is a whole block."""

    def __init__(self, layer: str):
        super().__init__()
        self.layer = layer

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return module_qualified_name == self.layer or super().is_leaf_module(
            m, module_qualified_name
        )


def _make_out_of_place(traced: fx.GraphModule) -> None:
    for node in list(traced.graph.nodes):
        if _is_in_place(traced, node):
            with traced.graph.inserting_before(node):
                copied = traced.graph.call_method("clone", (node.args[0],))
            node.args = (copied, *node.args[1:])
    traced.recompile()


def _is_in_place(traced: fx.GraphModule, node: fx.Node) -> bool:
    if not node.args or not isinstance(node.args[0], fx.Node):
        return False
    if node.op == "call_module":
        return bool(getattr(traced.get_submodule(node.target), "inplace", False))
    name = getattr(node.target, "__name__", str(node.target))
    return (
        bool(node.kwargs.get("inplace"))
        or (name.endswith("_") and not name.endswith("__"))
        or (node.op == "call_function" and name in ("iadd", "imul", "isub", "itruediv"))
    )
