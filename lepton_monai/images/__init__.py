"""Images that are no DICOM."""
