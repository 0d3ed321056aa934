"""Class maps: how heatmaps of some classes are made, one method a file."""
