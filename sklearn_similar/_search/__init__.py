"""Detection: region proposals, recognition, box regression, scores and NMS."""
