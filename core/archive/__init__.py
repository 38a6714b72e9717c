"""The archive: history, in Parquet files on any fsspec URL, written exactly once. Imports pyarrow and DuckDB."""

from core.archive.columns import Row, fits
from core.archive.store import Archive

__all__ = ["Archive", "Row", "fits"]
