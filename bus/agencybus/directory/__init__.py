"""The directory: who takes part, with which keys, and who may publish and read what.

Pure: `keys`, `model` (values), `policy` (rules), `views` (what verifiers ask). With disk and network: `profile` and
`history` (what is kept), `fetching` and `following` (clients), `spec` and `authoring` (authorities).
"""
