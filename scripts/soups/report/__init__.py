"""Printed tables and figures. They need CSV files alone."""
