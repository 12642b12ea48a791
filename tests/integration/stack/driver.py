"""The `netns` driver of scripts/deploy.sh: a program that hands its words to the stack of a test, over a socket.

The containers of a deploy are then real processes of the built image in namespaces, and its proxy the shipped one.
"""

import json
import socket
import sys


def main() -> None:
    """Send the words, print what came back, end as the stack said: `driver.py SOCKET VERB [WORD…]`."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(sys.argv[1])
        with connection.makefile("rw", encoding="utf-8") as stream:
            stream.write(json.dumps(sys.argv[2:]) + "\n")
            stream.flush()
            code, said = json.loads(stream.readline())
    print(said, end="", file=sys.stderr if code else sys.stdout)
    sys.exit(code)


if __name__ == "__main__":
    main()
