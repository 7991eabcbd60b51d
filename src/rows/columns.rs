//! What a file's columns mean: our own names, or those of another shortener's export.
//!
//! A dialect is recognised by columns that only it has together. Names are compared without regard to case, spaces and punctuation, since
//! one program writes `longUrl` in one export and `Long URL` in another.

use super::Field;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    Merlink,
    GoGovSg,
    Shlink,
    Yourls,
    Kutt,
    Bitly,
}

/// Where a column's text goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meaning {
    Is(Field),
    /// A whole short link, or its last part: what stands behind the last slash is the code.
    ShortUrl,
    /// The same, and it counts for more than the other when it isn't empty.
    CustomShortUrl,
    /// `true`: the link is switched off.
    Off,
    Ignored,
}

use Meaning::{CustomShortUrl, Ignored, Is, Off, ShortUrl};

impl Dialect {
    /// As people call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Merlink => "Merlink",
            Self::GoGovSg => "GoGovSG",
            Self::Shlink => "Shlink",
            Self::Yourls => "YOURLS",
            Self::Kutt => "Kutt",
            Self::Bitly => "Bitly",
        }
    }

    /// The dialect that has these columns; `None`: nobody's that is known.
    pub fn of<T: AsRef<str>>(columns: &[T]) -> Option<Self> {
        let mut names = columns.iter().map(AsRef::as_ref);
        if names.any(|name| name.trim().eq_ignore_ascii_case(Field::TargetUrl.name())) {
            return Some(Self::Merlink);
        }
        let has = |wanted: &str| columns.iter().any(|name| bare(name.as_ref()) == wanted);
        let signatures: [(Self, &[&str]); 10] = [
            (Self::GoGovSg, &["shorturl", "originalurl"]),
            (Self::Shlink, &["shortcode", "longurl"]),
            // Its web client's export, before there were several domains.
            (Self::Shlink, &["shorturl", "longurl"]),
            (Self::Kutt, &["address", "target"]),
            (Self::Yourls, &["keyword", "url"]),
            (Self::Yourls, &["source", "target", "hits"]),
            (Self::Bitly, &["link", "destinationurl"]),
            (Self::Bitly, &["bitlink", "destinationurl"]),
            (Self::Bitly, &["link", "longurl"]),
            (Self::Bitly, &["bitlink", "longurl"]),
        ];
        signatures.into_iter().find(|(_, names)| names.iter().all(|name| has(name))).map(|(dialect, _)| dialect)
    }

    /// What a column of this dialect means.
    pub fn meaning(self, name: &str) -> Meaning {
        if self == Self::Merlink {
            let named = |field: &Field| field.name().eq_ignore_ascii_case(name.trim());
            return Field::ALL.into_iter().find(named).map_or(Ignored, Is);
        }
        match (self, bare(name).as_str()) {
            (Self::GoGovSg, "originalurl")
            | (Self::Shlink, "longurl")
            | (Self::Yourls, "url" | "target")
            | (Self::Kutt, "target")
            | (Self::Bitly, "destinationurl" | "longurl") => Is(Field::TargetUrl),
            (Self::GoGovSg, "status") => Is(Field::State),
            (Self::Shlink, "shortcode") | (Self::Yourls, "keyword" | "source") | (Self::Kutt, "address") => {
                Is(Field::Code)
            }
            (Self::GoGovSg | Self::Shlink, "shorturl") | (Self::Bitly, "link" | "bitlink") => ShortUrl,
            (Self::Bitly, "customlink" | "custombitlink" | "custombitlinks") => CustomShortUrl,
            (Self::Kutt, "banned") | (Self::Bitly, "archived") => Off,
            (_, "tags") => Is(Field::Tags),
            (_, "title" | "description") => Is(Field::Description),
            (_, "createdat" | "created" | "datecreated" | "timestamp") => Is(Field::CreatedAt),
            (Self::Kutt, "expirein") | (Self::Shlink, "validuntil") => Is(Field::ExpiresAt),
            _ => Ignored,
        }
    }
}

/// A column's name in small letters and digits only.
fn bare(name: &str) -> String {
    name.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dialect(header: &str) -> Option<Dialect> {
        Dialect::of(&header.split(',').collect::<Vec<_>>())
    }

    #[test]
    fn exports_are_recognised_by_their_columns() {
        for (header, expected) in [
            ("code,target_url", Dialect::Merlink),
            ("Target_URL", Dialect::Merlink),
            ("Short URL,Original URL,Status,Tags,Visits,Created At,Last Modified", Dialect::GoGovSg),
            ("createdAt,domain,shortCode,shortUrl,longUrl,title,tags,visits", Dialect::Shlink),
            ("Short Code,Title,Short URL,Long URL,Date created,Visits", Dialect::Shlink),
            ("createdAt,title,shortUrl,longUrl,tags,visits", Dialect::Shlink),
            ("keyword,url,title,timestamp,ip,clicks", Dialect::Yourls),
            ("source,target,hits", Dialect::Yourls),
            (
                "address,banned,created_at,description,expire_in,id,link,password,target,updated_at,visit_count",
                Dialect::Kutt,
            ),
            ("Link,Custom Link,Destination URL,Title,Created,Tags", Dialect::Bitly),
            ("link,long_url,title,created_at", Dialect::Bitly),
        ] {
            assert_eq!(dialect(header), Some(expected), "{header}");
        }
        for header in ["", "name,address", "url", "code", "source,target"] {
            assert_eq!(dialect(header), None, "{header}");
        }
    }
}
