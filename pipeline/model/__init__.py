"""The words of the public contract as frozen types and declared frames. No I/O, imports nothing above."""
