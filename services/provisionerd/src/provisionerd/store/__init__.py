"""What is on this machine's disk: unpacked templates, and the directories of jobs."""
