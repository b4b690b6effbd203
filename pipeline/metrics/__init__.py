"""From detections to figures: AP by the rules of a data set, and what became of each keypoint.

May import base and hgg."""
