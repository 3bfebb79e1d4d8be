"""The six stages of the line, one plain function each, in one file each. None imports another."""
