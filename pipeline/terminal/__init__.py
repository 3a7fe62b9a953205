"""What people see: progress while a step works, then tables of 80 columns."""
