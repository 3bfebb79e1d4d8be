"""What a file says of itself: metadata read with limits, and the contradictions in it."""
