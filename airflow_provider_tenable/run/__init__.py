"""A complete run: its plan, params, watermark, ledger, report, retention and replay."""
