"""A search of loss weights, learning rates and cut, on Ray Tune.

Knows nothing of ablation."""
