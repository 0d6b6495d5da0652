"""Markdown table of stored results: `python -m benchmarks.results docs/results/*.json`.

Every file is a metrics.json of evaluate.py. The table holds what the files hold, nothing is typed in.
"""

import json
import pathlib
import sys


def main(paths):
    columns = "system, data, test sequences, MSE per pixel [95 %], below best trivial, below last frame at lead 1, SSIM"
    print("| " + columns.replace(", ", " | ") + " |")
    print("|---|---|---|---|---|---|---|")
    for path in paths:
        result = json.loads(pathlib.Path(path).read_text())
        scores = result["forecasts"][result["system"]]
        low, high = scores["mse_per_pixel"]["interval_95"]
        digits = "MNIST digits" if result["data"].get("root") else "generated digits"
        print(
            f"| [{result['system']}]({pathlib.Path(path).name}) | {digits} | {result['sequences']} "
            f"| {scores['mse_per_pixel']['mean']:.5f} [{low:.5f}, {high:.5f}] "
            f"| {100 * result['mse_below_best_trivial']:.1f} % ({result['best_trivial']}) "
            f"| {100 * result['mse_below_last_frame_at_lead_1']:.1f} % | {scores['ssim']['mean']:.3f} |"
        )


if __name__ == "__main__":
    main(sys.argv[1:])
