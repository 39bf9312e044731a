"""The calls to the control plane; generated code ends here."""
