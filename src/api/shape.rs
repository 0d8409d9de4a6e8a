//! What text in a spec may look like: patterns and rules that several fields share.

/// A DNS label (RFC 1123), at most 63 characters: namespaces.
pub(super) const DNS_LABEL: &str = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$";

/// A DNS subdomain (RFC 1123), at most 253 characters: names of nearly all objects.
pub(super) const DNS_SUBDOMAIN: &str = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$";

/// A host name and no address: its last label begins with a letter, which no IPv4 address has.
pub(super) const HOST: &str = r"^([a-z0-9]([-a-z0-9]*[a-z0-9])?\.)*[a-z]([-a-z0-9]*[a-z0-9])?$";

/// An https URL whose host is a name, without user and fragment.
pub(super) const HTTPS_URL: &str = r"^https://([A-Za-z0-9]([-A-Za-z0-9]*[A-Za-z0-9])?\.)*[A-Za-z]([-A-Za-z0-9]*[A-Za-z0-9])?(:[0-9]{1,5})?([/?][!-\x22$-~]*)?$";

/// An https URL as RFC 8414 wants an issuer: without user, query and fragment.
pub(super) const ISSUER_URL: &str = r"^https://[A-Za-z0-9.:\[\]-]+(/[!-\x22$->@-~]*)?$";

/// An http or https URL, without fragment.
pub(super) const HTTP_URL: &str = r"^https?://[!-\x22$-~]+$";

/// Whole hours, minutes and seconds.
pub(super) const DURATION: &str = "^([0-9]{1,6}(h|m|s))+$";

/// Printable ASCII without a space at either end: what is compared byte for byte and stands in tokens and logs.
pub(super) const PRINTABLE: &str = r"^[!-~]([ -~]*[!-~])?$";

/// A key of a Secret.
pub(super) const SECRET_KEY: &str = "^[-._a-zA-Z0-9]+$";

/// The value of a label.
pub(super) const LABEL_VALUE: &str = "^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$";

/// One bare address: no display name, no comment, no quoting, no list.
pub(super) const EMAIL: &str = r"^[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]+@[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*$";

/// CEL: prose, in any script. Markup, templates and joiners are text, and whoever shows them encodes them. Refused is
/// what no display encodes: control characters (a terminal obeys them, a log takes them for a new line), the line
/// separators of Unicode, and the characters that reorder the text around them.
pub(super) const PROSE: &str =
    r"!self.matches('[\\x00-\\x08\\x0b-\\x1f\\x7f-\\x{9f}\\x{2028}-\\x{202e}\\x{2066}-\\x{2069}]')";

/// What is said when [`PROSE`] does not hold.
pub(super) const NO_PROSE: &str = "description may not hold control characters other than tab and newline, nor characters that reorder the text around them";
