"""Teaching a student: ask the teacher, match its distributions, calibrate, judge, register."""
