"""Forward passes that are watched: which operations run, and which tensors they write.

A graph that `torch.fx` has traced is right only if the network does the same on tensors
as on the placeholders it was traced with, and if a value that is overwritten is read
again under the name that the graph knows. Both are seen here, on a few images.
"""

import torch
from torch import fx, nn

from .._compat import TorchDispatchMode, tree_leaves


class _Watch(TorchDispatchMode):
    """Context that lists the operations on what is computed from the images.

    Attributes
    ----------
    operations : list of tuple
        Each operation, its constants, and its tensors: where their values come from,
        their types and strides.
    written : set of int
        Storages that were written to; callers empty it.
    """

    def __init__(self, images: torch.Tensor):
        super().__init__()
        self.operations: list[tuple] = []
        self.written: set[int] = set()
        # Storages of what depends on the images, numbered as they came.
        self._numbers = dict.fromkeys(storages(images), 0)
        # Held, or another tensor could take the storage of a freed one.
        self._held = [images]

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
            self._held.append(output)
        for position, argument in enumerate(func._schema.arguments):
            if argument.alias_info is not None and argument.alias_info.is_write:
                given = kwargs.get(argument.name)
                if position < len(args):
                    given = args[position]
                self.written |= storages(given)
        return output

    def _describe(self, leaf):
        if not isinstance(leaf, torch.Tensor):
            return repr(leaf)
        numbers = [self._numbers.get(storage) for storage in storages(leaf)]
        return (*numbers, leaf.dtype, leaf.shape, leaf.stride(), leaf.storage_offset())


def storages(value) -> set[int]:
    """Storages of the tensors in a value; tensors without values have none."""
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
            own = node.args[0] if written and node.args else None
            if isinstance(own, fx.Node) and len(own.users) > 1:
                own = None
            for other in list(self.values)[: position if written else 0]:
                if other is not own and written & storages(self.values[other]):
                    return True
        return False

    def n_values(self) -> dict[fx.Node, int]:
        """Values for an image in each node that holds tensors."""
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
        Whose output is going to be replaced.

    Returns
    -------
    bool
        False, and the graph is of no use, if what is overwritten is read again through
        another tensor that shares its memory.
    """
    order = {node: position for position, node in enumerate(graph.nodes)}
    last_use = {
        node: max((order[user] for user in node.users), default=-1) for node in order
    }
    # The first of the nodes that stand for one tensor, overwritten several times.
    first: dict[fx.Node, fx.Node] = {}
    for node in list(order):
        if not run.written[node]:
            continue
        sharing = [
            other
            for other in last_use
            if order[other] < order[node]
            and not run.written[node].isdisjoint(storages(run.values[other]))
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
        for other in sharing:
            is_state = other.op == "get_attr"
            is_renamed = first.get(other, other) is original and node is not layer
            if is_state or (last_use[other] > order[node] and not is_renamed):
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
