"""Everything around the paper: settings, data, training, evaluation and tracking."""
