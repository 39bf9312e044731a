"""The edge: agents call in, the control plane is called. Decode, call, encode."""
