"""The checks of ``tenable_requirements``: what must be so before findings can be imported, one line for each.

Every check runs, whatever the others say, and none of them changes anything. A check that cannot be carried out,
because the API user's role is too low or a service does not answer, is *unchecked*, which fails nothing.
"""
