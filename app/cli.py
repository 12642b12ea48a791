"""The `library` command."""


def main() -> None:
    """Run the command line."""
