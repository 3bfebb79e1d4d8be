"""What the identity and collusion rooms share: typed links, clusters, block search, pictures."""
