"""The low-spec envelope: the policy on a share of a core."""
