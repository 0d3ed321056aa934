"""From images to instances: region proposals, crops, recognition, suppression."""
