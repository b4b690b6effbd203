"""HGG: differentiable hierarchical graph grouping for multi-person pose estimation (ECCV 2020)."""
