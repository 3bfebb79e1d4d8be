"""What rooms share: building findings, who came first, folded text, reading pictures."""
