"""From what a user passes to tensors and rasters, and back into their layout."""
