//! All live links as a map for nginx, so that they lead on where there is no merlink any more.
//!
//! The file stands in nginx's `http` block and defines two variables: `$merlink_code`, what a visit's path asks for, and
//! `$merlink_target`, where that leads; empty for codes that there aren't. How to use it is said in the file itself.

use std::io::{self, Write};

use jiff::Timestamp;

use crate::domain::{Link, LinkState};

/// Words that mean something else at the beginning of a map's line.
const SPECIAL: [&str; 4] = ["default", "hostnames", "include", "volatile"];

/// What stands above the links.
pub fn head(output: &mut impl Write, now: Timestamp) -> io::Result<()> {
    writeln!(
        output,
        r#"# Merlink's live links at {now}. Include this file in nginx's http block, and serve them with
#
#     server {{
#         listen 80;
#         location / {{
#             if ($merlink_target) {{ return 302 $merlink_target; }}
#             return 404;
#         }}
#     }}
#
# Codes are found in any case, and without the punctuation that was glued to them. Links that hand on a visit's query do so, but a
# parameter that the target has too comes twice then. A link that was to expire later than this file goes on leading where it led.

map_hash_max_size 4194304;
map_hash_bucket_size 512;

# A dollar sign has no other way into a map's value.
geo $merlink_dollar {{ default "$"; }}

map $args $merlink_args_first {{ "" ""; default "?$args"; }}
map $args $merlink_args_more {{ "" ""; default "&$args"; }}

map $uri $merlink_code {{
    default "";
    "~^/(?<merlink_path>[A-Za-z0-9-]+)[.,;:!?)\]'\"]*/?$" $merlink_path;
}}

map $merlink_code $merlink_target {{
    default "";"#
    )
}

/// A link's line, if it is live.
pub fn line(output: &mut impl Write, link: &Link, now: Timestamp) -> io::Result<()> {
    if link.state == LinkState::Inactive || link.is_expired(now) {
        return Ok(());
    }
    let code = link.code.as_str();
    let escape = if SPECIAL.contains(&code) { "\\" } else { "" };
    let (address, fragment) = match link.target.as_str().split_once('#') {
        Some((address, fragment)) => (address, Some(fragment)),
        None => (link.target.as_str(), None),
    };
    let query = match (link.forward_query, address.contains('?')) {
        (false, _) => "",
        (true, false) => "${merlink_args_first}",
        (true, true) => "${merlink_args_more}",
    };
    let fragment = fragment.map(|fragment| format!("#{}", quoted(fragment))).unwrap_or_default();
    writeln!(output, "    {escape}{code} \"{}{query}{fragment}\";", quoted(address))
}

/// What stands below them.
pub fn tail(output: &mut impl Write) -> io::Result<()> {
    writeln!(output, "}}")
}

/// For between quotation marks.
fn quoted(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('$', "${merlink_dollar}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{domain::Target, rows::write::tests::link};

    fn lines(change: impl FnOnce(&mut Link)) -> String {
        let mut link = Link { state: LinkState::Active, ..link() };
        change(&mut link);
        let mut output = Vec::new();
        line(&mut output, &link, "2027-01-30T00:00:00Z".parse().expect("a time")).expect("a Vec takes everything");
        String::from_utf8(output).expect("UTF-8")
    }

    #[test]
    fn live_links_have_a_line_that_nginx_reads_as_the_target() {
        let to = |target: &str| Target::from_store(target.to_owned());
        assert_eq!(lines(|_| ()), "    -tax \"https://example.com/?a=1,2&b=\\\"x\\\"${merlink_args_more}\";\n");
        assert_eq!(
            lines(|link| {
                link.code = "default".parse().expect("a code");
                link.target = to("https://example.com/$a{b};'\\#f$");
            }),
            "    \\default \"https://example.com/${merlink_dollar}a{b};'\\\\${merlink_args_first}#f${merlink_dollar}\";\n"
        );
        assert_eq!(lines(|link| link.state = LinkState::Inactive), "");
        assert_eq!(lines(|link| link.expires_at = Some("2027-01-30T00:00:00Z".parse().expect("a time"))), "");
    }
}
