"""The error of a network without each filter of a layer, exactly."""
