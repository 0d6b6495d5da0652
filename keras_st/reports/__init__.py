"""What an evaluation leaves behind: summaries as plain values, tables, pictures, one report.html."""
