"""The decisions and the vocabulary of provisionerd: no IO, no clock, no dice."""
