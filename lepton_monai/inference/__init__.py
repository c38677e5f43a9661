"""From a volume to a mask on its own grid."""
