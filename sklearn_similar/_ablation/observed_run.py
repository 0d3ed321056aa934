"""Observed forward passes: which operations run, and which tensors they overwrite.

A graph traced by `torch.fx` is right only if the network does the same with tensors as
with the placeholders of the trace, and if an overwritten value is read again under the
name that the graph knows. Both are checked on a few images.
"""

import torch
from torch import fx, nn

from .._compat import TorchDispatchMode, tree_leaves


class _Watch(TorchDispatchMode):
    """Context that lists the operations on tensors that depend on the images.

    Attributes
    ----------
    operations : list of tuple
        Each operation, its constants, and its tensors: numbers of their storages, types
        and strides.
    written : set of int
        Storages that were written to; callers clear it.
    """

    def __init__(self, images: torch.Tensor):
        super().__init__()
        self.operations: list[tuple] = []
        self.written: set[int] = set()
        # Storages of the tensors that depend on the images, numbered in order.
        self._numbers = dict.fromkeys(storages(images), 0)
        # References keep a new tensor from taking the storage of a freed one.
        self._references = [images]

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        leaves = tree_leaves((args, kwargs))
        described = (str(func), *map(self._describe, leaves))
        output = func(*args, **kwargs)
        if not self._numbers.keys().isdisjoint(storages(leaves)):
            self.operations.append(described)
            for leaf in tree_leaves(output):
                for storage in storages(leaf):
                    self._numbers.setdefault(storage, len(self._numbers))
            self._references.append(output)
        for position, argument in enumerate(func._schema.arguments):
            if argument.alias_info is not None and argument.alias_info.is_write:
                value = kwargs.get(argument.name)
                if position < len(args):
                    value = args[position]
                self.written |= storages(value)
        return output

    def _describe(self, leaf):
        if not isinstance(leaf, torch.Tensor):
            return repr(leaf)
        numbers = [self._numbers.get(storage) for storage in storages(leaf)]
        return (*numbers, leaf.dtype, leaf.shape, leaf.stride(), leaf.storage_offset())


def storages(value) -> set[int]:
    """Storages of the tensors in a value; empty tensors have none."""
    tensors = [leaf for leaf in tree_leaves(value) if isinstance(leaf, torch.Tensor)]
    return {tensor.untyped_storage().data_ptr() for tensor in tensors} - {0}


def watch_network(module: nn.Module, images: torch.Tensor) -> list[tuple]:
    """The operations of a network's forward pass that depend on the images."""
    images = images.clone()
    with _Watch(images) as watch:
        module(images)
    return watch.operations


class ObservedRun(fx.Interpreter):
    """Run of a traced graph on some images.

    Attributes
    ----------
    operations : list of tuple
        As `watch_network` gives them.
    values : dict of torch.fx.Node to value
    written : dict of torch.fx.Node to set of int
        Storages that each node wrote to.
    """

    def __init__(self, root: nn.Module, graph: fx.Graph, images: torch.Tensor):
        super().__init__(root, garbage_collect_values=False, graph=graph)
        images = images.clone()
        self.values: dict[fx.Node, object] = {}
        self.written: dict[fx.Node, set[int]] = {}
        self._n_images = len(images)
        self._watch = _Watch(images)
        with self._watch:
            self.run(images)
        self.operations = self._watch.operations

    def run_node(self, n: fx.Node):
        self._watch.written = set()
        value = super().run_node(n)
        self.values[n], self.written[n] = value, self._watch.written
        return value

    def reads_values(self) -> bool:
        """Whether Python code reads values that depend on the images."""
        return any("_local_scalar_dense" in name for name, *_ in self.operations)

    def overwrites_values(self) -> bool:
        """Whether a node writes to a value that another node could read."""
        for position, (node, written) in enumerate(self.written.items()):
            target = node.args[0] if written and node.args else None
            if isinstance(target, fx.Node) and len(target.users) > 1:
                target = None
            for earlier in list(self.values)[: position if written else 0]:
                if earlier is not target and written & storages(self.values[earlier]):
                    return True
        return False

    def tensors(self) -> frozenset[fx.Node]:
        """Nodes that hold a single tensor."""
        return frozenset(
            node
            for node, value in self.values.items()
            if isinstance(value, torch.Tensor)
        )

    def n_values(self) -> dict[fx.Node, int]:
        """Number of values for each image in each node that holds tensors."""
        counts = {}
        for node, value in self.values.items():
            tensors = [t for t in tree_leaves(value) if isinstance(t, torch.Tensor)]
            if tensors:
                n_values = sum(tensor.numel() for tensor in tensors)
                counts[node] = -(-n_values // self._n_images)
        return counts


def make_out_of_place(run: ObservedRun, graph: fx.Graph, layer: fx.Node) -> bool:
    """Let operations that overwrite a tensor write to a copy of it.

    Parameters
    ----------
    run : ObservedRun
        A run of the graph as it was traced.
    graph : torch.fx.Graph
        Changed in place.
    layer : torch.fx.Node
        The node whose output is going to be replaced.

    Returns
    -------
    bool
        False, and the graph is of no use, if an overwritten tensor is read again
        through another one that shares its memory.
    """
    order = {node: position for position, node in enumerate(graph.nodes)}
    last_use = {
        node: max((order[user] for user in node.users), default=-1) for node in order
    }
    # The first node of each tensor that is overwritten several times.
    first: dict[fx.Node, fx.Node] = {}
    for node in list(order):
        written = run.written[node]
        sharing = [
            earlier
            for earlier in last_use
            if written
            and order[earlier] < order[node]
            and not written.isdisjoint(storages(run.values[earlier]))
        ]
        if not sharing:
            continue
        target = node.args[0] if node.args else None
        if (
            not isinstance(target, fx.Node)
            or run.values[node] is not run.values[target]
        ):
            return False
        original = first.get(target, target)
        for earlier in sharing:
            is_state = earlier.op == "get_attr"
            is_renamed = first.get(earlier, earlier) is original and node is not layer
            if is_state or (last_use[earlier] > order[node] and not is_renamed):
                return False
        first[node] = original
        # Later uses of the overwritten tensor read the new values.
        for user in [user for user in target.users if order[user] > order[node]]:
            user.replace_input_with(target, node)
        with graph.inserting_before(node):
            copied = graph.call_method("clone", (target,))
        order[copied] = order[node]
        node.args = (copied, *node.args[1:])
    return True
