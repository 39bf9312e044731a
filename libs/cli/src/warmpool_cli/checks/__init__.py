"""What `warmpool doctor` looks at."""
