//! `[traces]`: whether spans of officers' requests are made, and who takes them.

use std::path::PathBuf;

use hyper::{
    HeaderMap, Uri,
    header::{HeaderName, HeaderValue},
};
use percent_encoding::percent_decode_str;
use url::Url;

use super::{Settings, in_range, non_empty};

#[derive(Clone, Debug)]
pub struct Traces {
    /// A collector's, with its path. `None`: no traces.
    pub otlp_url: Option<Uri>,
    /// Sent along with all that goes there. Their values are secrets, and marked so.
    pub headers: HeaderMap,
    /// `None`: the public authorities.
    pub tls_ca_file: Option<PathBuf>,
    /// Of the requests whose caller hasn't decided it: 0 to 1.
    pub sampled_share: f64,
}

impl Traces {
    pub(super) fn read(settings: &mut Settings) -> Option<Self> {
        let otlp_url = settings.take_explained("traces.otlp_url", |text| match text {
            "" => Ok(None),
            text => collector(text).map(Some),
        });
        let headers = settings.take_list("traces.headers", "name=value, as authorization=Bearer%20TOKEN", header);
        let tls_ca_file = settings.take("traces.tls_ca_file", "the path of a file, or empty", |text| {
            Some(non_empty(text).map(PathBuf::from))
        });
        let sampled_share = settings.take("traces.sampled_share", "0 to 1, as 0.1", in_range(0.0, 1.0));
        Some(Self {
            otlp_url: otlp_url?,
            headers: headers?.into_iter().collect(),
            tls_ca_file: tls_ca_file?,
            sampled_share: sampled_share?,
        })
    }
}

/// Says nothing of what is set: it may hold a password, although it must not.
fn collector(text: &str) -> Result<Uri, String> {
    let allowed = "allowed: http:// or https://, a host and a path, as http://localhost:4318/v1/traces";
    let url = Url::parse(text).map_err(|_| format!("what is set isn't an address; {allowed}"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(format!("{}:// isn't a way to a collector; {allowed}", url.scheme()));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("a user or a password isn't allowed in it: set traces.headers".to_owned());
    }
    if url.path() == "/" || url.fragment().is_some() {
        return Err(format!("the path is missing, which is /v1/traces with most collectors; {allowed}"));
    }
    url.as_str().parse().map_err(|_| format!("what is set isn't an address; {allowed}"))
}

fn header(text: &str) -> Option<(HeaderName, HeaderValue)> {
    let (name, value) = text.split_once('=')?;
    let value = percent_decode_str(value.trim()).decode_utf8().ok()?;
    let mut value: HeaderValue = value.parse().ok()?;
    value.set_sensitive(true);
    Some((name.trim().parse().ok()?, value))
}

#[cfg(test)]
mod tests {
    use super::super::tests::with_env;

    #[test]
    fn nothing_is_set_at_first() {
        assert!(with_env(&[]).expect("good").traces.otlp_url.is_none());
    }

    #[test]
    fn a_collector_has_an_address_headers_and_a_share() {
        let traces = with_env(&[
            ("MERLINK_TRACES__OTLP_URL", "https://collector.example:4318/v1/traces"),
            ("MERLINK_TRACES__HEADERS", "authorization=Bearer%20a%2Cb==, x-scope-orgid=links"),
            ("MERLINK_TRACES__SAMPLED_SHARE", "0.25"),
        ]);
        let traces = traces.expect("good").traces;
        assert_eq!(traces.otlp_url.as_ref().expect("is set"), "https://collector.example:4318/v1/traces");
        assert_eq!(traces.headers["authorization"], "Bearer a,b==");
        assert_eq!(traces.headers["x-scope-orgid"], "links");
        assert!((traces.sampled_share - 0.25).abs() < f64::EPSILON);
        assert!(!format!("{traces:?}").contains("Bearer"), "{traces:?}");
    }

    #[test]
    fn mistakes_are_explained_without_a_word_of_what_is_secret() {
        for (setting, value, reason) in [
            ("OTLP_URL", "hunter2", "isn't an address"),
            ("OTLP_URL", "grpc://hunter2:4317/x", "grpc:// isn't a way to a collector"),
            ("OTLP_URL", "https://u:hunter2@collector.example/v1/traces", "set traces.headers"),
            ("OTLP_URL", "http://collector.example:4318", "the path is missing"),
            ("HEADERS", "hunter2", "traces.headers: what is set isn't allowed"),
            ("HEADERS", "authorization=hunter2%0Ax", "traces.headers: what is set isn't allowed"),
            ("HEADERS", "a b=hunter2", "traces.headers: what is set isn't allowed"),
            ("SAMPLED_SHARE", "1.5", "traces.sampled_share: \"1.5\" isn't allowed; allowed: 0 to 1"),
            ("SAMPLED_SHARE", "NaN", "traces.sampled_share: \"NaN\" isn't allowed"),
        ] {
            let error = with_env(&[(&format!("MERLINK_TRACES__{setting}"), value)]).expect_err(value).to_string();
            assert!(error.contains(reason), "{reason} not in {error}");
            assert!(!error.contains("hunter2"), "{error}");
        }
    }
}
