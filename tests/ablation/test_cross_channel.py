"""Cross-channel layers: linear, and the first operations that combine filters."""

import pytest
from ablation_cases import CASES, draw_images, n_filters_of
from networks import trained

from sklearn_similar._ablation.cross_channel import first_cross_channel_layers
from sklearn_similar._ablation.graph import LayerGraph
from sklearn_similar._network.forward import eval_mode

pytestmark = pytest.mark.filterwarnings(
    "ignore:The network cannot be traced .TypeError"
)


@pytest.mark.parametrize("name", [name for name in CASES if CASES[name][2] == "head"])
def test_filters_that_other_operations_combine_are_not_separated(name):
    """Not even where the comparison with masking would not have noticed."""
    build, layer, _ = CASES[name]
    module = trained(build)
    with eval_mode(module):
        graph = LayerGraph.trace(module, layer, draw_images(2))
        assert (
            first_cross_channel_layers(
                graph, draw_images(2), n_filters_of(module, layer)
            )
            == []
        )
