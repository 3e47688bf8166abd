"""Small trained models for mnad-ext, each in a folder of its name with a card that says what it is."""

from pathlib import Path

FOLDER = Path(__file__).parent
