"""Similarity indexes: immutable segments and a small delta, exact, rebuilt from fingerprints."""
