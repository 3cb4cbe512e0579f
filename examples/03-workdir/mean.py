"""Prints the mean of the second column of a CSV file, and which files came along."""

import csv
import sys
from pathlib import Path

with open(sys.argv[1], newline="") as file:
    values = [float(row[1]) for row in list(csv.reader(file))[1:]]

print(f"{len(values)} rows, mean {sum(values) / len(values):.2f}")
print("Files here:", ", ".join(sorted(str(path) for path in Path().rglob("*") if path.is_file())))
