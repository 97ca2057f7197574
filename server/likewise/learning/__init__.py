"""What is learned beside the policies: projections of keys, and evidence that nodes exchange."""
