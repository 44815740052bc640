"""The stand-in for Tenable Vulnerability Management: a believable estate, and the export API in front of it."""
