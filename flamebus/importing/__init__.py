"""Profiles of other tools, read from their files and made into batches. No bus: whoever calls publishes."""
