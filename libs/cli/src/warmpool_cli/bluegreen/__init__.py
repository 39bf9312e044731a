"""The exercise of a blue/green upgrade: every service replaced under load, and what was noticed."""
