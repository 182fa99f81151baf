"""What comes out of a campaign: a report for people, a dataset for others."""
