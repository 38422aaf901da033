"""What is kept: `base` says how, `sql` does it, `folder` guards the data folder."""
