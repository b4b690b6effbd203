"""Rows of the paper's Table 2 and Fig. 4a, trained and evaluated from one pretrained network.

Knows nothing of tuning."""
