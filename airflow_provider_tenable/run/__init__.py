"""A run as a whole: its plan, params, watermark, ledger, report, retention and replay."""
