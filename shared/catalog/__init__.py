"""Every enum, stage template and reason with its labels in English and simplified Chinese."""
