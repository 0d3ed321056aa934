"""Progress bars, with verbose=1: on stderr, or in the output of a notebook's cell."""

import io
import sys
from collections.abc import Callable, Iterable, Iterator
from importlib.util import find_spec
from typing import Any, TypeVar

from skorch.callbacks import Callback
from tqdm import tqdm

T = TypeVar("T")


def with_progress(
    items: Iterable[T],
    description: str,
    total: int | None,
    unit: str,
    verbose: int,
    size: Callable[[T], int] = lambda _: 1,
) -> Iterable[T]:
    """The items, with a progress bar on stderr if `verbose`.

    Parameters
    ----------
    items : iterable
    description : str
        Name of the task.
    total : int or None
        Number of units, if it is known.
    unit : str
        Name of a unit, in the singular.
    verbose : int
    size : callable, default=one
        Number of units in an item.
    """
    # Even a disabled bar of tqdm would start a monitoring thread.
    if not verbose:
        return items
    return _with_bar(items, description, total, unit, size)


def _with_bar(items, description, total, unit, size) -> Iterator:
    with progress_bar(desc=description, total=total, unit=unit) as bar:
        for item in items:
            yield item
            bar.update(size(item))


def progress_bar(**options: Any) -> Any:
    """A bar of tqdm: a widget in a notebook, or one line of text without ipywidgets."""
    if not _is_notebook():
        return tqdm(**options)
    if find_spec("ipywidgets") is None:
        return _NotebookLine(**options, file=io.StringIO(), ascii=False)
    from tqdm.notebook import tqdm as widget

    return widget(**options)


def _is_notebook() -> bool:
    """Whether the code runs in a kernel of Jupyter."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return "IPKernelApp" in getattr(shell, "config", {})


class _NotebookLine(tqdm):
    """One output that is replaced; notebooks keep each line that stderr gets."""

    @staticmethod
    def status_printer(file):
        from IPython.display import Pretty, display

        handle = display(Pretty(""), display_id=True)
        return lambda text: handle.update(Pretty(text))


class EpochBar(Callback):
    """A progress bar over the epochs of a skorch net, with the last training loss."""

    def on_train_begin(self, net, **kwargs):
        self.bar_ = progress_bar(desc="epochs", total=net.max_epochs, unit="epoch")

    def on_epoch_end(self, net, **kwargs):
        loss = net.history[-1]["train_loss"]
        self.bar_.set_postfix(loss=f"{loss:.3g}", refresh=False)
        self.bar_.update()

    def on_train_end(self, net, **kwargs):
        self.bar_.close()
        # A bar cannot be copied or pickled.
        self.bar_ = None
