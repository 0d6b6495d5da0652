"""`python -m keras_st.serving.check DIR`: a line for every check; exit code 1 where one fails, 2 for a user's error."""

import argparse
import sys

from keras_st import cli
from keras_st.serving.check import check_export


def main(argv):
    """Checks a version folder, or the newest version in a base folder, and prints the results."""
    parser = argparse.ArgumentParser(
        prog="python -m keras_st.serving.check",
        description="Checks an export: files, signatures, operations, equal numbers without Keras and by the C API.",
    )
    parser.add_argument("dir", help="Version folder, or a folder of versions: its newest.")
    parser.add_argument("--full", action="store_true", help="The whole grid of batch, time and size.")
    args = cli.parse(parser, argv)
    results = check_export(args.dir, args.full)
    for result in results:
        print(result)
    if not all(result.ok for result in results):
        sys.exit(1)


if __name__ == "__main__":
    cli.run(main)
