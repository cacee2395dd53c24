"""A module that cannot be imported."""

import nowhere_to_be_found as nowhere_to_be_found
