"""Where notifications leave the system. Mail, HTTP and Apprise have their only doors here."""
