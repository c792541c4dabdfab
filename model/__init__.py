import os

# torch's threads spin while they wait for each other, unless OpenMP is set otherwise before it is
# loaded. On two cores with other work, a training step took 0.54 s spinning, and 0.05 s without.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
