"""The object store: full profiles as Parquet in a directory or on S3, written by streams, read by people."""
