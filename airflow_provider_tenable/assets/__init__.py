"""The assets of a run, and of all runs: Parquet parts, the table that is searched, and the index that is kept between
runs.
"""
