"""Many trials, on Ray Tune: sweep files, the graph of trials and prerequisites, execution, and the command."""

import os

# Ray Tune reads these when it is imported or used: no log files for each trial, snapshots rare since nothing needs
# them, no output of its own, no change of the working folder, and signals left to ``tuner.execute``.
for _name, _value in {
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_GLOBAL_CHECKPOINT_S": "1e9",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
}.items():
    os.environ.setdefault(_name, _value)
