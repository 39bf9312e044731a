"""The only door to Postgres: SQL files, and rows made into values."""
