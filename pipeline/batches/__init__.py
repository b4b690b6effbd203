"""From samples to the batches of a step: order, reading, collation, augmentation. Needs no Ray.

May import data, base and hgg."""
