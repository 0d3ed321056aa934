"""Images and annotation files for tests of annotation formats."""

from pathlib import Path

import pandas as pd
import pytest

BOX = ["x_min", "y_min", "x_max", "y_max"]


def make_image(path, width=40, height=20, orientation=None):
    """Write a grey image; `orientation` is that of EXIF."""
    pillow = pytest.importorskip("PIL.Image", reason="image files need Pillow")
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    exif = pillow.Exif()
    if orientation is not None:
        exif[0x0112] = orientation
    pillow.new("L", (width, height)).save(path, exif=exif)
    return path


def write(path, text):
    """Write a text, with its folder."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def voc_object(label, x_min, y_min, x_max, y_max, difficult=0):
    return f"""<object><name>{label}</name><difficult>{difficult}</difficult><bndbox>
        <xmin>{x_min}</xmin><ymin>{y_min}</ymin><xmax>{x_max}</xmax><ymax>{y_max}</ymax>
    </bndbox></object>"""


def voc_text(file_name, *objects, width=40, height=20):
    return f"""<annotation><filename>{file_name}</filename>
        <size><width>{width}</width><height>{height}</height><depth>3</depth></size>
        {"".join(objects)}</annotation>"""


def rows_of(instances):
    """Rows of a table as tuples ``image, label, x_min, y_min, x_max, y_max``."""
    return list(instances[["image", "label", *BOX]].itertuples(index=False, name=None))


def table_of(*rows):
    return pd.DataFrame(rows, columns=["image", "label", *BOX])
