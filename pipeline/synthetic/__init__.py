"""The drawn data set: people that overlap, in COCO's layout.

May import settings, base and hgg."""
