#!/usr/bin/env bash
# higra gives the red channel's mean colour of each region for green and blue, too.
#
# Versions: higra 0.6.13, NumPy 2.4.6, Python 3.11.
# Behaviour: attributes of a tree are stored with the tree, and looked up by the id() of an array
#   that is passed, not by its content. Python reuses the id of an array that is gone, and an array
#   that is filled anew keeps it. A loop over channels, with slices or with one buffer, then gets
#   the values of the first channel each time. no_cache=True, or arrays that are all kept, are
#   right.
# Expected: the mean of the array that was passed. The signature does not show that results are
#   kept, and a mistake by identity is not to be seen in them: they are means of a channel.
# Who is hurt: segmentation by component trees and attribute profiles of colour and hyperspectral
#   images, where one tree is described by many channels.
# Fails if any of these cases changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install -q higra==0.6.13 numpy==2.4.6
cat > "$folder/mean.py" <<'PYTHON'
import higra as hg
import numpy as np

colour = np.random.default_rng(0).random((32, 32, 3))
colour[..., 1] += 1
colour[..., 2] += 2
channels = [colour[..., channel] for channel in range(3)]
buffer = np.empty((32, 32))


def means(get_channel, **options):
    """Mean of the whole image, the root of the tree, in each channel."""
    graph = hg.get_4_adjacency_graph((32, 32))
    tree, _ = hg.component_tree_max_tree(graph, colour.mean(axis=2))
    return [
        round(float(hg.attribute_mean_vertex_weights(tree, get_channel(i), **options)[-1]), 1)
        for i in range(3)
    ]


def filled_buffer(channel):
    buffer[:] = colour[..., channel]
    return buffer


print("NumPy", [round(float(channel.mean()), 1) for channel in channels])
print("arrays that are kept", means(channels.__getitem__))
print("slices", means(lambda channel: colour[..., channel]))
print("one buffer", means(filled_buffer))
print("one buffer, no_cache=True", means(filled_buffer, no_cache=True))
PYTHON
"$folder/env/bin/python" "$folder/mean.py" | tee "$folder/seen"
diff "$folder/seen" - <<'SEEN'
NumPy [0.5, 1.5, 2.5]
arrays that are kept [0.5, 1.5, 2.5]
slices [0.5, 0.5, 0.5]
one buffer [0.5, 0.5, 0.5]
one buffer, no_cache=True [0.5, 1.5, 2.5]
SEEN
