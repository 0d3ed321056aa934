"""Every accepted input as float32 batches, and results in the layout of X."""
