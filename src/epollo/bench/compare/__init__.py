"""Runs beside each other: ratios with their confidence, and what has to be known of them."""
