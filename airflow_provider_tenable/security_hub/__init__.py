"""Stage 3: findings are sent to Security Hub CSPM and acknowledged."""
