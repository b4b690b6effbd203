"""An evaluation as one page to read: figures, curves and pictures, beside those of another one.

May import training, evaluation, metrics, settings, base and hgg."""
