"""What comes from outside is hostile until it is checked: secrets in answers, foreign text in messages, names and
ids.
"""
