"""From importances to weights, and from weights and activations to heatmaps."""
