"""The raw material of the plugins: what Nessus looks for, by platform, in realistic words."""

from typing import NamedTuple


class Service(NamedTuple):
    """Where a plugin reports: port, protocol as Tenable writes it, service name (empty: left out of the record)."""

    port: int
    protocol: str
    name: str


class RemoteCheck(NamedTuple):
    """A plugin that scans a host from outside; it names no package and often no CVE."""

    name: str
    family: str
    family_id: int
    severity: int
    services: tuple[Service, ...]
    cves: tuple[str, ...] = ()


class Product(NamedTuple):
    """A product whose missing update a local plugin reports."""

    name: str
    vendor: str
    cpe: str
    version: str
    fixed: str
    platform: str


WEB = (Service(443, "TCP", "www"), Service(8443, "TCP", "www"), Service(80, "TCP", "www"), Service(8080, "TCP", "www"))
TLS = (
    Service(443, "TCP", "www"),
    Service(8443, "TCP", "www"),
    Service(3389, "TCP", "msrdp"),
    Service(5432, "TCP", "postgresql"),
)
SSH = (Service(22, "TCP", "ssh"), Service(2222, "TCP", "ssh"))
NONE = (Service(0, "TCP", ""),)
PING = (Service(0, "ICMP", ""),)
DNS = (Service(53, "UDP", "dns"),)
NTP = (Service(123, "UDP", "ntp"),)
SNMP = (Service(161, "UDP", "snmp"),)
SMB = (Service(445, "TCP", "cifs"),)

REMOTE_CHECKS = (
    RemoteCheck("Nessus SYN scanner", "Port scanners", 14, 0, (*SSH, *WEB)),
    RemoteCheck("HTTP Server Type and Version", "Web Servers", 11, 0, WEB),
    RemoteCheck("SSL Certificate Information", "General", 30, 0, TLS),
    RemoteCheck("SSL / TLS Versions Supported", "General", 30, 0, TLS),
    RemoteCheck("Service Detection", "Service detection", 22, 0, (*WEB, *SSH)),
    RemoteCheck("OS Identification", "General", 30, 0, NONE),
    RemoteCheck("Device Type", "General", 30, 0, NONE),
    RemoteCheck("Traceroute Information", "General", 30, 0, (Service(0, "UDP", ""),)),
    RemoteCheck("Common Platform Enumeration (CPE)", "General", 30, 0, NONE),
    RemoteCheck("SSH Algorithms and Languages Supported", "Misc.", 23, 0, SSH),
    RemoteCheck("HyperText Transfer Protocol (HTTP) Information", "Web Servers", 11, 0, WEB),
    RemoteCheck("Network Time Protocol (NTP) Server Detection", "Service detection", 22, 0, NTP),
    RemoteCheck("Nessus Scan Information", "Settings", 38, 0, NONE),
    RemoteCheck("Web page title &lt;index&gt; &amp; banner observed", "Web Servers", 11, 0, WEB),
    RemoteCheck("ICMP Timestamp Request Remote Date Disclosure", "General", 30, 1, PING, ("CVE-1999-0524",)),
    RemoteCheck("SSH Server CBC Mode Ciphers Enabled", "Misc.", 23, 1, SSH, ("CVE-2008-5161",)),
    RemoteCheck("SSH Weak MAC Algorithms Enabled", "Misc.", 23, 1, SSH),
    RemoteCheck(
        "SSL RC4 Cipher Suites Supported (Bar Mitzvah)", "General", 30, 1, TLS, ("CVE-2013-2566", "CVE-2015-2808")
    ),
    RemoteCheck("Web Server Transmits Cleartext Credentials", "Web Servers", 11, 1, WEB),
    RemoteCheck("Client request header &lt;X-Forwarded-For&gt; reflected", "CGI abuses", 3, 1, WEB),
    RemoteCheck("SSL Certificate Cannot Be Trusted", "General", 30, 2, TLS),
    RemoteCheck("SSL Self-Signed Certificate", "General", 30, 2, TLS),
    RemoteCheck("SSL Medium Strength Cipher Suites Supported (SWEET32)", "General", 30, 2, TLS, ("CVE-2016-2183",)),
    RemoteCheck("TLS Version 1.0 Protocol Detection", "Service detection", 22, 2, TLS),
    RemoteCheck(
        "HTTP TRACE / TRACK Methods Allowed",
        "Web Servers",
        11,
        2,
        WEB,
        ("CVE-2003-1567", "CVE-2004-2320", "CVE-2010-0386"),
    ),
    RemoteCheck("SMB Signing not required", "Misc.", 23, 2, SMB),
    RemoteCheck("DNS Server Cache Snooping Remote Information Disclosure", "DNS", 32, 2, DNS),
    RemoteCheck("Network Time Protocol (NTP) Mode 6 Scanner", "Misc.", 23, 2, NTP),
    RemoteCheck("SNMP Agent Default Community Name (public)", "SNMP", 29, 3, SNMP, ("CVE-1999-0517",)),
    RemoteCheck("SSL Version 2 and 3 Protocol Detection", "Service detection", 22, 3, TLS),
    RemoteCheck("Unsupported Web Server Detection", "Web Servers", 11, 3, WEB),
    RemoteCheck("HTTP/2 Rapid Reset Denial of Service", "Web Servers", 11, 3, WEB, ("CVE-2023-44487",)),
    RemoteCheck("Microsoft RDP RCE (BlueKeep) (uncredentialed check)", "Windows", 20, 4, (TLS[2],), ("CVE-2019-0708",)),
    RemoteCheck(
        "Apache Log4Shell RCE detection via callback correlation", "Web Servers", 11, 4, WEB, ("CVE-2021-44228",)
    ),
)

PRODUCTS = (
    Product("openssl", "OpenSSL", "cpe:/a:openssl:openssl", "3.0.2", "3.0.13", "linux"),
    Product("linux kernel", "Linux", "cpe:/o:linux:linux_kernel", "5.15.0-91", "5.15.0-117", "linux"),
    Product("curl", "Haxx", "cpe:/a:haxx:curl", "7.81.0", "8.6.0", "linux"),
    Product("openssh", "OpenBSD", "cpe:/a:openbsd:openssh", "8.9p1", "9.6p1", "linux"),
    Product("sudo", "Todd Miller", "cpe:/a:sudo_project:sudo", "1.9.9", "1.9.15p5", "linux"),
    Product("glibc", "GNU", "cpe:/a:gnu:glibc", "2.35", "2.39", "linux"),
    Product("vim", "Vim", "cpe:/a:vim:vim", "8.2.3995", "9.1.0016", "linux"),
    Product("python3", "Python", "cpe:/a:python:python", "3.10.4", "3.10.14", "linux"),
    Product("bind", "ISC", "cpe:/a:isc:bind", "9.18.1", "9.18.24", "linux"),
    Product("nginx", "F5", "cpe:/a:f5:nginx", "1.18.0", "1.24.1", "linux"),
    Product("libxml2", "Xmlsoft", "cpe:/a:xmlsoft:libxml2", "2.9.13", "2.11.7", "linux"),
    Product("docker", "Docker", "cpe:/a:docker:docker", "23.0.1", "25.0.2", "linux"),
    Product("postgresql", "PostgreSQL", "cpe:/a:postgresql:postgresql", "14.2", "14.11", "linux"),
    Product("xz-utils", "Tukaani", "cpe:/a:tukaani:xz", "5.2.5", "5.2.6", "linux"),
    Product(
        "Windows Server 2019",
        "Microsoft",
        "cpe:/o:microsoft:windows_server_2019",
        "10.0.17763.3650",
        "10.0.17763.5576",
        "windows",
    ),
    Product(
        "Windows Server 2022",
        "Microsoft",
        "cpe:/o:microsoft:windows_server_2022",
        "10.0.20348.1249",
        "10.0.20348.2340",
        "windows",
    ),
    Product(
        "Microsoft .NET Framework", "Microsoft", "cpe:/a:microsoft:.net_framework", "4.8.4400", "4.8.4690", "windows"
    ),
    Product("Microsoft SQL Server", "Microsoft", "cpe:/a:microsoft:sql_server", "15.0.2095", "15.0.2110", "windows"),
    Product(
        "Microsoft Exchange Server", "Microsoft", "cpe:/a:microsoft:exchange_server", "15.2.986", "15.2.1544", "windows"
    ),
    Product("Microsoft Edge (Chromium)", "Microsoft", "cpe:/a:microsoft:edge", "114.0.1823", "122.0.2365", "windows"),
    Product("Google Chrome", "Google", "cpe:/a:google:chrome", "114.0.5735", "122.0.6261", "windows"),
    Product("Mozilla Firefox", "Mozilla", "cpe:/a:mozilla:firefox", "115.0", "123.0", "windows"),
    Product("7-Zip", "7-Zip", "cpe:/a:7-zip:7-zip", "21.07", "23.01", "windows"),
    Product("Adobe Reader", "Adobe", "cpe:/a:adobe:acrobat_reader", "23.001", "23.008", "windows"),
    Product("Wireshark", "Wireshark", "cpe:/a:wireshark:wireshark", "4.0.1", "4.0.12", "windows"),
    Product("Notepad++", "Notepad++", "cpe:/a:notepad-plus-plus:notepad\\+\\+", "8.5.2", "8.5.7", "windows"),
)

WEAKNESSES = (
    "A heap-based buffer overflow exists in the parsing of {part} and lets a remote attacker run arbitrary code.",
    "An improper check of {part} lets a local attacker gain elevated privileges.",
    "Uncontrolled resource consumption in the handling of {part} causes a denial of service condition.",
    "A race condition between the check and the use of {part} discloses parts of the memory to another user.",
    "Values taken from {part} are not escaped; input such as &lt;script&gt; reaches the page of another user.",
    "A flaw in the verification of {part} lets a man in the middle replace its content without being noticed.",
    "An integer wraps around while the length of {part} is computed, which leads to an out-of-bounds write.",
    "A use-after-free error occurs when {part} is closed twice by concurrent requests.",
)

PARTS = (
    "crafted certificates",
    "HTTP/2 headers",
    "compressed archives",
    "environment variables",
    "DNS answers",
    "XML entities",
    "regular expressions",
    "session tickets",
    "file system notifications",
    "authentication tokens",
    "user names",
    "print jobs",
)

# Tenable mixes the case of risk factors in what it exports; the wording of severities in `severity` is lower case.
RISK_FACTORS = (
    ("None", "info", "NONE"),
    ("Low", "low", "LOW"),
    ("Medium", "medium", "MEDIUM"),
    ("High", "high", "HIGH"),
    ("Critical", "critical", "CRITICAL"),
)
SEVERITIES = ("info", "low", "medium", "high", "critical")
