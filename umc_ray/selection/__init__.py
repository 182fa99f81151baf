"""Which samples of each domain people are asked about, and how the budget is split."""
