"""What DICOM results share: the series that they refer to, UIDs, coded terms, reading back what was written.

A result is an object beside the images of its study: it names their patient and study, refers to them, and is
marked as research. The writers themselves are components, in `medseg.builtin.write`.
"""
