"""After the line: cases, reports, appeals, statements of reasons, and how good the findings are."""
