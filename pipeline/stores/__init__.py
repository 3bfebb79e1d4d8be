"""Where things are kept: SQL through one code path, Parquet segments, blobs. All behind ports."""
