"""One file per question. Ratios of CPU time, taken side by side in one run; nothing here asserts a time."""
