"""Everything around the paper: a room for each thing that the data goes through."""
