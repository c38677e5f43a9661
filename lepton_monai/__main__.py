"""``python -m lepton_monai VERB ...``, and so ``torchrun -m lepton_monai train ...``."""

from lepton_monai.cli.main import main

main()
